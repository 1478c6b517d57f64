"""Ways to get the log-probability of a continuation out of a completions server, exact ones first.

A continuation is read as a whole (the prompt goes out with it, and the server tells the log-probabilities of prompt
tokens), or token by token (the server tells those of some next tokens). What servers say of tokens they are not asked
about, or do not find among the likely ones, differs: entries are looked up by token, never by place.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from harness import Floats, VictimError
from plugins.victims._openai.completions import Choice, Completions, Row
from plugins.victims._openai.server import Refusal

WayName = Literal["logprob_token_ids", "prompt_logprobs", "echo", "top_logprobs"]
_ONE_TOKEN: dict[str, Any] = {"max_tokens": 1}
_BY_ID: dict[str, Any] = {"return_tokens_as_token_ids": True}  # where tokens are named, name them ``token_id:17``
LOWEST = -9999.0  # what servers write for minus infinity, which JSON does not have


class UntoldError(Exception):
    """The answer does not hold the log-probabilities that were asked for."""


class OtherTokensError(UntoldError):
    """A prompt that was sent as text has other tokens for the server."""


class Way(ABC):
    """One way to ask.

    Attributes:
        name: what a spec writes.
        exact: whether every log-probability asked for is told; else only those of likely tokens.
        extra: tokens that a request puts behind a row and its continuation (a server has to generate some).
        untold: continuations that were not among the likely ones so far.
        otherwise: rows that the server tokenised otherwise so far.
    """

    name: ClassVar[WayName]
    exact: ClassVar[bool] = True
    extra: int = 1

    def __init__(self, completions: Completions) -> None:
        self.completions = completions
        self.untold = self.otherwise = 0

    @abstractmethod
    def read(self, rows: Sequence[Row], continuations: Sequence[Sequence[Row]]) -> list[list[Floats] | None]:
        """Log-probabilities [t] of the tokens of each of a row's continuations; None for a row that was refused or
        tokenised otherwise.

        Raises:
            VictimError: the server is gone.
            UntoldError: the answer lacks them.
        """


class Whole(Way):
    """The continuation goes out with the prompt."""

    def read(self, rows: Sequence[Row], continuations: Sequence[Sequence[Row]]) -> list[list[Floats] | None]:
        """See `Way`."""
        asked = [(i, row + own) for i, row in enumerate(rows) for own in continuations[i]]
        tails = [len(own) for several in continuations for own in several]
        found: list[list[Floats] | None] = [[] for _ in rows]
        answers = self.completions.ask([row for _, row in asked], self.fields())
        for (i, row), tail, answer in zip(asked, tails, answers, strict=True):
            own = found[i]
            if isinstance(answer, Refusal) or own is None:
                found[i] = None
                continue
            try:
                own.append(self.tail(answer, row, tail))
            except OtherTokensError:
                if self.completions.prompts.ids:
                    raise  # ids are what they are
                self.otherwise += 1
                found[i] = None
        return found

    @abstractmethod
    def fields(self) -> dict[str, Any]:
        """What a request says besides the prompt."""

    @abstractmethod
    def tail(self, choice: Choice, row: Row, tail: int) -> Floats:
        """Log-probabilities of the last ``tail`` tokens of ``row``."""


class PromptLogProbs(Whole):
    """``prompt_logprobs``, of vLLM: a table by token id for each token of the prompt."""

    name = "prompt_logprobs"

    def fields(self) -> dict[str, Any]:
        """See `Whole`."""
        return {"max_tokens": 1, "prompt_logprobs": 0}

    def tail(self, choice: Choice, row: Row, tail: int) -> Floats:
        """See `Whole`."""
        tables = choice.get("prompt_logprobs")
        if not isinstance(tables, list) or len(tables) < 2:
            raise UntoldError("prompt_logprobs are not in the answer")
        own = self.completions.sent(row)
        if not 0 <= len(tables) - len(own) <= self.completions.added:
            raise OtherTokensError(f"prompt_logprobs of {len(tables)} tokens for a prompt of {len(own)}")
        values = []
        for token, table in zip(own, tables[len(tables) - len(own) :], strict=True):
            if table is None:  # of the first token nothing is told
                continue
            entry = table.get(str(token)) if isinstance(table, dict) else None
            if entry is None:
                raise OtherTokensError(
                    f"prompt_logprobs lack token {token}: the server's tokens are others than the tokenizer's"
                )
            values.append(entry.get("logprob") if isinstance(entry, dict) else entry)
        return np.asarray([_number(value) for value in values[-tail:]])


class Echo(Whole):
    """``echo`` with ``logprobs``, of the older OpenAI completions: the prompt's tokens come back with theirs."""

    name = "echo"

    def __init__(self, completions: Completions, generate: int = 0) -> None:
        """Ask for ``generate`` tokens (0 or 1: some servers insist on one)."""
        super().__init__(completions)
        self.extra = generate

    def fields(self) -> dict[str, Any]:
        """See `Whole`."""
        return {"max_tokens": self.extra, "echo": True, "logprobs": 1}

    def tail(self, choice: Choice, row: Row, tail: int) -> Floats:
        """See `Whole`."""
        told = choice.get("logprobs")
        values = told.get("token_logprobs") if isinstance(told, dict) else None
        if not isinstance(values, list):
            raise UntoldError("token_logprobs are not in the answer")
        own, prompt = self.completions.sent(row), len(values) - self.extra
        if not 0 <= prompt - len(own) <= self.completions.added:
            raise OtherTokensError(f"log-probabilities of {prompt} tokens for a prompt of {len(own)}")
        self._compare(told.get("tokens") if isinstance(told, dict) else None, own, prompt)
        return np.asarray([_number(value) for value in values[prompt - tail : prompt]])

    def _compare(self, told: Any, own: Row, prompt: int) -> None:
        """Of a text that the server cut up itself: whether into our tokens, where it writes them as they are."""
        if self.completions.prompts.ids or not isinstance(told, list):
            return
        named, ours = told[prompt - len(own) : prompt], self.completions.tokenizer.decode([[token] for token in own])
        if named != ours and "".join(map(str, named)) == "".join(ours):
            raise OtherTokensError("the server cuts this text up otherwise")


class NextTokenLogProbs(Way):
    """A request per beginning of a continuation: the log-probabilities of the tokens that may follow it."""

    def read(self, rows: Sequence[Row], continuations: Sequence[Sequence[Row]]) -> list[list[Floats] | None]:
        """See `Way`. A token that is not told is taken at the most it can have."""
        wanted: dict[tuple[int, Row], set[int]] = {}
        for i, several in enumerate(continuations):
            for own in several:
                for at, token in enumerate(own):
                    wanted.setdefault((i, own[:at]), set()).add(token)
        places = list(wanted)
        answers = self.tables([rows[i] + stem for i, stem in places], [tuple(sorted(wanted[p])) for p in places])
        tables = dict(zip(places, answers, strict=True))
        refused = {i for (i, _), table in tables.items() if table is None}
        found: list[list[Floats] | None] = []
        for i, several in enumerate(continuations):
            if i in refused:
                found.append(None)
                continue
            told = [[tables[i, own[:at]] for at in range(len(own))] for own in several]
            values = [
                np.asarray([table[token] for table, token in zip(own, tokens, strict=True) if table is not None])
                for own, tokens in zip(told, several, strict=True)
            ]
            found.append(values)
        return found

    @abstractmethod
    def tables(self, rows: Sequence[Row], tokens: Sequence[Row]) -> list[dict[int, float] | None]:
        """Log-probability by token id of ``tokens`` after each row; None for a row that was refused."""


class TokenIds(NextTokenLogProbs):
    """``logprob_token_ids``, of vLLM: the log-probabilities of named next tokens."""

    name = "logprob_token_ids"

    def tables(self, rows: Sequence[Row], tokens: Sequence[Row]) -> list[dict[int, float] | None]:
        """See `NextTokenLogProbs`."""
        found: list[dict[int, float] | None] = [None] * len(rows)
        for ids in sorted(set(tokens)):  # a request names the same tokens for all of its rows
            own = [i for i, wanted in enumerate(tokens) if wanted == ids]
            fields = _ONE_TOKEN | _BY_ID | {"logprobs": 1, "logprob_token_ids": list(ids)}
            for i, answer in zip(own, self.completions.ask([rows[i] for i in own], fields), strict=True):
                if isinstance(answer, Refusal):
                    continue
                told = _first_table(answer)
                names = [f"token_id:{token}" for token in ids]
                if any(name not in told for name in names):
                    raise UntoldError("the answer lacks tokens that logprob_token_ids names")
                found[i] = {token: _number(told[name]) for token, name in zip(ids, names, strict=True)}
        return found


class TopLogProbs(NextTokenLogProbs):
    """``logprobs: k``: the k most likely next tokens. One that is not among them has at most what the last of them has,
    and at most what all of them leave; that is what it is taken to have. A row none of whose tokens is told is refused.
    """

    name = "top_logprobs"
    exact = False

    def __init__(self, completions: Completions, top: int, *, by_id: bool) -> None:
        """Ask for the ``top`` most likely tokens, by id where the server knows how to name them so, else by text."""
        super().__init__(completions)
        self.top = top
        self._fields = _ONE_TOKEN | {"logprobs": top} | (_BY_ID if by_id else {})

    def tables(self, rows: Sequence[Row], tokens: Sequence[Row]) -> list[dict[int, float] | None]:
        """See `NextTokenLogProbs`."""
        answers = self.completions.ask(rows, self._fields)
        return [
            None if isinstance(answer, Refusal) else self._table(_first_table(answer), ids)
            for answer, ids in zip(answers, tokens, strict=True)
        ]

    def _table(self, told: dict[str, Any], ids: Row) -> dict[int, float] | None:
        values = {name: _number(value) for name, value in told.items()}
        rest = math.log(max(1e-300, 1.0 - sum(math.exp(min(value, 0.0)) for value in values.values())))
        most = min([rest, *values.values()])
        texts = self.completions.tokenizer.decode([[token] for token in ids])
        found: dict[int, float] = {}
        for token, text in zip(ids, texts, strict=True):
            known = values.get(f"token_id:{token}", values.get(text))
            self.untold += known is None
            found[token] = most if known is None else known
        return found if any(f"token_id:{t}" in values or s in values for t, s in zip(ids, texts, strict=True)) else None


def _first_table(choice: Choice) -> dict[str, Any]:
    told = choice.get("logprobs")
    tables = told.get("top_logprobs") if isinstance(told, dict) else None
    if not isinstance(tables, list) or not tables or not isinstance(tables[0], dict) or not tables[0]:
        raise UntoldError("top_logprobs are not in the answer")
    return tables[0]


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value) or value > 1e-3:
        raise UntoldError(f"{value!r} is no log-probability")
    return max(float(value), LOWEST)


def must_tell(way: Way, rows: Sequence[Row], continuations: Sequence[Sequence[Row]]) -> list[list[Floats] | None]:
    """`Way.read` of a way that has been found to work: what is lacking now is an error.

    Raises:
        VictimError: the server is gone, or does not tell what it told before.
    """
    try:
        return way.read(rows, continuations)
    except UntoldError as error:
        raise VictimError(f"the server told log-probabilities by {way.name} and does not now: {error}") from None
