"""A model behind a URL as a `Backend`: it generates, and scores where its server tells log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness import (
    UNKNOWN,
    Ability,
    AccessError,
    Differentiated,
    Floats,
    Generated,
    GenerateItem,
    GradientItem,
    Sampled,
    SampleItem,
    Scored,
    ScoreItem,
    Tokenizer,
    VictimError,
    cross_entropy,
    prompt_ids,
)
from plugins.victims._openai.completions import PATH, Completions, Row, choices
from plugins.victims._openai.log_probs import TopLogProbs, Way, must_tell
from plugins.victims._openai.probe import NEW_IDS, ServerProbe, new_ids, probe_rows
from plugins.victims._openai.server import Refusal

CHAT = "chat/completions"


@dataclass(frozen=True)
class Served:
    """What a backend is told of the model.

    Attributes:
        facts: what the server says of it, for the manifest.
        context: longest row in tokens that the server takes, with what it generates.
        api: which of the server's interfaces answers `Generate`.
        n_params: as stated by the user; None where nobody knows.
    """

    facts: dict[str, Any]
    context: int
    api: Literal["completions", "chat"]
    n_params: int | None


class UrlBackend:
    """A model behind a URL.

    A prompt that its server refuses (a filter, a length) is like one that a guard refuses: its loss is ``inf``, its
    logits are NaN, its answer is empty. So is, of a server that takes texts, a prompt that it tokenises otherwise.
    `describe` counts both. The executed compute is unknown.

    Attributes: as in `Backend`.
    """

    def __init__(
        self, completions: Completions, found: ServerProbe, served: Served, labels: Sequence[Row] = ()
    ) -> None:
        """Take what was found out of the server.

        Args:
            labels: token ids of each label, for a victim that is to classify; none for one that answers in text.

        Raises:
            VictimError: labels that cannot be told apart, or a server that does not tell the log-probabilities that
                they need; a context without room for them.
        """
        self.tokenizer: Tokenizer = completions.tokenizer
        self.n_params: int | None = served.n_params
        self.n_params_non_embedding: int | None = None
        self.labels = [tuple(label) for label in labels]
        self.n_labels = len(self.labels)
        self._completions, self._found, self._served = completions, found, served
        able: set[Ability] = {"score"} if found.way else set()
        if not self.labels:
            able.add("generate")
        elif found.way is None:
            raise VictimError(
                f"{completions.server.access.base_url}: tells no log-probabilities ({_why(found)}), which labels need; "
                "take a server that does, or a task answered in text"
            )
        elif len(self.labels) < 2 or not all(self.labels) or len(set(self.labels)) < len(self.labels):
            raise VictimError(
                f"label tokens {self.labels}: at least two labels are needed, each of other tokens than the rest"
            )
        self.abilities = frozenset(able)
        self._most = served.context - (found.way.extra if found.way else 0)
        self.context = min(served.context - 1, self._most - max(map(len, self.labels), default=0))
        if self.context < 1:
            raise VictimError(f"a context of {served.context} tokens leaves no room for a prompt")

    def classify(self, rows: Sequence[NDArray[np.int64]]) -> tuple[Floats, list[float]]:
        """Log-probabilities of the labels [rows, labels], NaN for a row that the server refused, and unknown FLOPs.

        Raises:
            AccessError: a victim that answers in text.
            VictimError: the server is gone; a row that is empty or longer than the context, an id beyond the
                vocabulary.
        """
        if not self.labels:
            raise AccessError("a victim with head: generation has no labels to choose among; use head: label_tokens")
        read = self._read([self._valid(row, 0) for row in rows], [self.labels] * len(rows))
        logits = np.full((len(rows), self.n_labels), np.nan)
        for i, own in enumerate(read):
            if own is not None:
                logits[i] = [values.sum() for values in own]
        return logits, [UNKNOWN] * len(rows)

    def score(self, items: Sequence[ScoreItem]) -> list[Scored]:
        """Losses of many examples' candidates, asked for together; ``inf`` for those that the server refused.

        Raises:
            AccessError: the server tells no log-probabilities.
            VictimError: as `classify`.
        """
        if "score" not in self.abilities:
            raise self._unable("score", "a server that tells log-probabilities")
        rows = [[np.concatenate([item.before, own, item.after]) for own in item.candidates] for item in items]
        if self.labels:
            stacked = iter(self.classify([row for own in rows for row in own])[0])
            found = [np.asarray([next(stacked) for _ in own]).reshape(len(own), self.n_labels) for own in rows]
            scored = []
            for item, logits in zip(items, found, strict=True):
                assert isinstance(item.target, int)
                losses = np.where(np.isnan(logits).any(axis=1), np.inf, cross_entropy(logits, item.target))
                scored.append(Scored(logits, losses, UNKNOWN))
            return scored
        targets = [item.target if isinstance(item.target, tuple) else () for item in items]
        asked = [(self._valid(row, len(t)), t) for own, t in zip(rows, targets, strict=True) for row in own]
        read = iter(self._read([row for row, _ in asked], [[target] for _, target in asked]))
        answers = []
        for own in rows:
            values = [next(read) for _ in own]
            losses = np.asarray([np.inf if value is None else -value[0].mean() for value in values])
            answers.append(Scored(np.empty((len(own), 0)), losses, UNKNOWN))
        return answers

    def gradient(self, items: Sequence[GradientItem]) -> list[Differentiated]:
        """Refuse."""
        raise self._unable("gradient", "a victim with open weights")

    def sample(self, items: Sequence[SampleItem]) -> list[Sampled]:
        """Refuse: no server tells its whole vocabulary."""
        raise self._unable("sample", "a language model with open weights")

    def generate(self, items: Sequence[GenerateItem]) -> list[Generated]:
        """Answers in text; one that the server refused is empty and not finished.

        Raises:
            AccessError: a victim that classifies.
            VictimError: the server is gone; a prompt without tokens, or one that leaves no room in the context.
        """
        if "generate" not in self.abilities:
            raise self._unable("generate", "head: generation")
        chat = self._served.api == "chat"
        if any(item.ids is not None for item in items) and (chat or not self._found.prompts.ids):
            raise AccessError("this server takes texts, not tokens: a defense that chooses the tokens cannot reach it")
        encoded = prompt_ids(items, self.tokenizer)
        rows = [self._valid(np.asarray([*self.tokenizer.left, *ids], dtype=np.int64), 0) for ids in encoded]
        bodies = [self._chat(item) if chat else self._plain(item, row) for item, row in zip(items, rows, strict=True)]
        answers = self._completions.server.post(CHAT if chat else PATH, bodies)
        return [self._generated(answer, row) for answer, row in zip(answers, rows, strict=True)]

    def describe(self) -> dict[str, object]:
        """Facts for the manifest: the server, how it is asked, what was found out of it and what it failed to do."""
        found, server = self._found, self._completions.server
        way = found.way
        return {
            "backend": "url",
            "server": server.access.base_url,
            "model": self._completions.model,
            "served": self._served.facts,
            "head": "label_tokens" if self.labels else "generation",
            "api": self._served.api,
            "prompts": "token ids" if found.prompts.ids else "text, which the server tokenises",
            "prompts_per_request": found.prompts.batch,
            "tokens_counted": found.counts,
            "answers_as": "token ids" if found.new_ids else "text",
            "log_probabilities": None if way is None else way.name,
            "log_probabilities_of": way.top if isinstance(way, TopLogProbs) else None,
            "untold": 0 if way is None else way.untold,
            "tokenised_otherwise": 0 if way is None else way.otherwise,
            "not_possible": found.refused,
            "agreement": None
            if found.agreement is None
            else {"with": found.agreement[0], "largest_difference": found.agreement[1]},
            "retries": server.retried,
            "refused_prompts": self._completions.refused,
            "first_refusal": self._completions.reason,
        }

    def _read(self, rows: list[Row], continuations: list[list[Row]]) -> list[list[Floats] | None]:
        way = self._found.way
        assert way is not None
        read = must_tell(way, rows, continuations)
        if read and all(own is None for own in read):
            self._must_answer(way)
        return read

    def _must_answer(self, way: Way) -> None:
        """Whether rows were refused for what they say, or because the server answers nothing any more."""
        (answer,) = self._completions.ask(probe_rows(self.tokenizer)[:1], {"max_tokens": 1})
        if isinstance(answer, Refusal):
            raise VictimError(
                f"{self._completions.server.access.base_url}: refuses what it answered at first "
                f"(status {answer.status}: {answer.reason})"
            )

    def _valid(self, row: NDArray[np.int64], behind: int) -> Row:
        """A row as ids, with room for ``behind`` tokens after it."""
        most = min(self.context, self._most - behind)
        if not 0 < len(row) <= most:
            raise VictimError(
                f"a row of {len(row)} tokens does not fit the model: 1 to {most} are possible, none is cut off; "
                "drop long examples or shorten the attack string"
            )
        if row.min() < 0 or row.max() >= self.tokenizer.vocabulary:
            raise VictimError(
                f"token ids {row.min()} to {row.max()} exceed the vocabulary (0 to {self.tokenizer.vocabulary - 1})"
            )
        return tuple(int(i) for i in row)

    def _plain(self, item: GenerateItem, row: Row) -> dict[str, Any]:
        ids = self._found.prompts.ids
        return {
            "model": self._completions.model,
            "prompt": list(row) if ids else item.prompt,
            "max_tokens": min(item.max_tokens, self._served.context - len(row)),
            "temperature": item.temperature,
            "seed": _seed(item.seed),
        } | (NEW_IDS if self._found.new_ids else {})

    def _chat(self, item: GenerateItem) -> dict[str, Any]:
        return {
            "model": self._completions.model,
            "messages": [{"role": "user", "content": item.prompt}],
            "max_tokens": item.max_tokens,
            "temperature": item.temperature,
            "seed": _seed(item.seed),
        }

    def _generated(self, answer: dict[str, Any] | Refusal, row: Row) -> Generated:
        if isinstance(answer, Refusal):
            self._completions.refused += 1
            self._completions.reason = self._completions.reason or f"status {answer.status}: {answer.reason}"
            return Generated("", False, len(row), 0, UNKNOWN)
        (choice,) = choices(answer, 1)
        finished, ids = choice.get("finish_reason") == "stop", new_ids(choice)
        if self._found.new_ids and ids is not None:
            ended = finished and bool(ids) and ids[-1] in self.tokenizer.special
            return Generated(self._said(row, ids[:-1] if ended else ids), finished, len(row), len(ids), UNKNOWN)
        said = choice.get("message", {}).get("content") if self._served.api == "chat" else choice.get("text")
        text = said if isinstance(said, str) else ""
        usage = answer.get("usage") or {}
        prompt = usage.get("prompt_tokens", len(row))
        new = usage.get("completion_tokens")
        if new is None:
            new = len(self.tokenizer.encode([text])[0])
        return Generated(text, finished, int(prompt), int(new), UNKNOWN)

    def _said(self, row: Row, ids: list[int]) -> str:
        """The text of new ids, in context: some decoders drop the space at the beginning of a text."""
        before = list(row[len(self.tokenizer.left) :])
        whole, prompt = self.tokenizer.decode([[*before, *ids], before])
        return whole[len(prompt) :] if whole.startswith(prompt) else self.tokenizer.decode([ids])[0]

    def _unable(self, ability: Ability, mend: str) -> AccessError:
        able = ", ".join(sorted(self.abilities)) or "nothing"
        return AccessError(f"this victim does not answer {ability} requests (it answers {able}); use {mend}")


def _why(found: ServerProbe) -> str:
    return "; ".join(f"{name}: {why}" for name, why in found.refused.items()) or "it was not asked to"


def _seed(seed: int) -> int:
    """Servers take 63 bits at most, some 31."""
    return seed % 2**31
