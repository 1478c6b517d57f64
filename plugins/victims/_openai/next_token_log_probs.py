"""Methods that read the log-probabilities of a continuation token by token, as those of a prompt's next tokens."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from harness import AnswerState
from plugins.victims._openai.completions import Choice, Completions, Row
from plugins.victims._openai.http_client import Refusal
from plugins.victims._openai.log_probs import LogProbMethod, MissingLogProbsError, RowLogProbs, checked_log_prob

_ONE_TOKEN: dict[str, Any] = {"max_tokens": 1}
_BY_ID: dict[str, Any] = {"return_tokens_as_token_ids": True}  # where tokens are named, name them ``token_id:17``


class NextTokenMethod(LogProbMethod):
    """A method that sends one request per prefix of a continuation and reads the log-probabilities of next tokens."""

    def read(self, rows: Sequence[Row], continuations: Sequence[Sequence[Row]]) -> list[RowLogProbs]:
        """As `LogProbMethod`. A token that is not in the answer gets the highest log-probability that it can have."""
        next_tokens: dict[tuple[int, Row], set[int]] = {}
        for i, of_row in enumerate(continuations):
            for continuation in of_row:
                for length, token in enumerate(continuation):
                    next_tokens.setdefault((i, continuation[:length]), set()).add(token)
        prefixes = list(next_tokens)
        prompts = [rows[i] + prefix for i, prefix in prefixes]
        answers = self.tables(prompts, [tuple(sorted(next_tokens[prefix])) for prefix in prefixes])
        tables = dict(zip(prefixes, answers, strict=True))
        without = {i: table for (i, _), table in tables.items() if isinstance(table, str)}
        log_probs: list[RowLogProbs] = []
        for i, of_row in enumerate(continuations):
            if i in without:
                log_probs.append(without[i])
                continue
            by_token = [[tables[i, tokens[:length]] for length in range(len(tokens))] for tokens in of_row]
            values = [
                np.asarray([t[token] for t, token in zip(of_tokens, tokens, strict=True) if isinstance(t, dict)])
                for of_tokens, tokens in zip(by_token, of_row, strict=True)
            ]
            log_probs.append(values)
        return log_probs

    @abstractmethod
    def tables(self, rows: Sequence[Row], tokens: Sequence[Row]) -> list[dict[int, float] | AnswerState]:
        """Log-probability, by token id, of each row's ``tokens`` as its next token; or why there are none."""


class NamedTokenLogProbs(NextTokenMethod):
    """``logprob_token_ids`` of vLLM: the log-probabilities of named next tokens."""

    name = "logprob_token_ids"

    def tables(self, rows: Sequence[Row], tokens: Sequence[Row]) -> list[dict[int, float] | AnswerState]:
        """As `NextTokenMethod`."""
        tables: list[dict[int, float] | AnswerState] = ["failed"] * len(rows)
        for ids in sorted(set(tokens)):  # a request names the same tokens for all of its rows
            same = [i for i, of_row in enumerate(tokens) if of_row == ids]
            fields = _ONE_TOKEN | _BY_ID | {"logprobs": 1, "logprob_token_ids": list(ids)}
            for i, answer in zip(same, self.completions.complete([rows[i] for i in same], fields), strict=True):
                if isinstance(answer, Refusal):
                    tables[i] = answer.state
                    continue
                values = _first_table(answer)
                names = [f"token_id:{token}" for token in ids]
                if any(name not in values for name in names):
                    raise MissingLogProbsError("the answer lacks tokens that logprob_token_ids names")
                tables[i] = {token: checked_log_prob(values[name]) for token, name in zip(ids, names, strict=True)}
        return tables


class TopLogProbs(NextTokenMethod):
    """``logprobs: k``: the k most likely next tokens. The probability of another token is at most that of the last of
    them, and at most what all of them leave; the smaller of the two is taken. Where none of a row's tokens is among
    them, its answer is missing.
    """

    name = "top_logprobs"
    exact = False

    def __init__(self, completions: Completions, top: int, *, by_id: bool) -> None:
        """Ask for the ``top`` most likely tokens, by id where the server knows how to name them so, else by text."""
        super().__init__(completions)
        self.top = top
        self._fields = _ONE_TOKEN | {"logprobs": top} | (_BY_ID if by_id else {})

    def tables(self, rows: Sequence[Row], tokens: Sequence[Row]) -> list[dict[int, float] | AnswerState]:
        """As `NextTokenMethod`."""
        answers = self.completions.complete(rows, self._fields)
        return [
            answer.state if isinstance(answer, Refusal) else self._table(_first_table(answer), ids)
            for answer, ids in zip(answers, tokens, strict=True)
        ]

    def _table(self, answer: dict[str, Any], ids: Row) -> dict[int, float] | AnswerState:
        values = {name: checked_log_prob(value) for name, value in answer.items()}
        rest = math.log(max(1e-300, 1.0 - sum(math.exp(min(value, 0.0)) for value in values.values())))
        upper_bound = min([rest, *values.values()])
        texts = self.completions.tokenizer.decode([[token] for token in ids])
        given = {
            token: values.get(f"token_id:{token}", values.get(text)) for token, text in zip(ids, texts, strict=True)
        }
        self.unlikely += sum(value is None for value in given.values())
        if all(value is None for value in given.values()):
            return "failed"
        return {token: upper_bound if value is None else value for token, value in given.items()}


def _first_table(choice: Choice) -> dict[str, Any]:
    log_probs = choice.get("logprobs")
    tables = log_probs.get("top_logprobs") if isinstance(log_probs, dict) else None
    if not isinstance(tables, list) or not tables or not isinstance(tables[0], dict) or not tables[0]:
        raise MissingLogProbsError("top_logprobs are not in the answer")
    return tables[0]
