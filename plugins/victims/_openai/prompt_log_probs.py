"""Methods that read the log-probabilities of a continuation as a whole, sent as a part of the prompt."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from harness import Floats
from plugins.victims._openai.completions import Choice, Completions, Row
from plugins.victims._openai.http_client import Refusal
from plugins.victims._openai.log_probs import (
    LogProbMethod,
    MissingLogProbsError,
    RowLogProbs,
    TokenMismatchError,
    checked_log_prob,
)


class PromptMethod(LogProbMethod):
    """A method that sends row and continuation as one prompt and reads the log-probabilities of the prompt's tokens."""

    def read(self, rows: Sequence[Row], continuations: Sequence[Sequence[Row]]) -> list[RowLogProbs]:
        """As `LogProbMethod`."""
        prompts = [(i, row + continuation) for i, row in enumerate(rows) for continuation in continuations[i]]
        lengths = [len(continuation) for of_row in continuations for continuation in of_row]
        log_probs: list[RowLogProbs] = [[] for _ in rows]
        answers = self.completions.complete([prompt for _, prompt in prompts], self.fields())
        for (i, prompt), length, answer in zip(prompts, lengths, answers, strict=True):
            of_row = log_probs[i]
            if isinstance(of_row, str):
                continue
            if isinstance(answer, Refusal):
                log_probs[i] = answer.state
                continue
            try:
                of_row.append(self.last(answer, prompt, length))
            except TokenMismatchError:
                if self.completions.prompts.ids:
                    raise  # a server does not tokenise ids
                self.mismatched += 1
                log_probs[i] = "failed"
        return log_probs

    @abstractmethod
    def fields(self) -> dict[str, Any]:
        """Fields of the requests, besides the prompt."""

    @abstractmethod
    def last(self, choice: Choice, prompt: Row, count: int) -> Floats:
        """Log-probabilities of the last ``count`` tokens of a prompt, shape [count]."""


class PromptLogProbs(PromptMethod):
    """``prompt_logprobs`` of vLLM: a table by token id for each token of the prompt."""

    name = "prompt_logprobs"

    def fields(self) -> dict[str, Any]:
        """As `PromptMethod`."""
        return {"max_tokens": 1, "prompt_logprobs": 0}

    def last(self, choice: Choice, prompt: Row, count: int) -> Floats:
        """As `PromptMethod`."""
        tables = choice.get("prompt_logprobs")
        if not isinstance(tables, list) or len(tables) < 2:
            raise MissingLogProbsError("prompt_logprobs are not in the answer")
        sent = self.completions.as_sent(prompt)
        if not 0 <= len(tables) - len(sent) <= self.completions.max_added_tokens:
            raise TokenMismatchError(f"prompt_logprobs of {len(tables)} tokens for a prompt of {len(sent)}")
        values = []
        for token, table in zip(sent, tables[len(tables) - len(sent) :], strict=True):
            if table is None:  # the first token has none
                continue
            entry = table.get(str(token)) if isinstance(table, dict) else None
            if entry is None:
                raise TokenMismatchError(
                    f"prompt_logprobs lack token {token}: the server's tokens differ from the tokenizer's"
                )
            values.append(entry.get("logprob") if isinstance(entry, dict) else entry)
        return np.asarray([checked_log_prob(value) for value in values[-count:]])


class Echo(PromptMethod):
    """``echo`` with ``logprobs`` of the older OpenAI completions: the prompt's tokens come back with theirs."""

    name = "echo"

    def __init__(self, completions: Completions, generate: int = 0) -> None:
        """Ask for ``generate`` tokens (0 or 1: some servers insist on one)."""
        super().__init__(completions)
        self.extra = generate

    def fields(self) -> dict[str, Any]:
        """As `PromptMethod`."""
        return {"max_tokens": self.extra, "echo": True, "logprobs": 1}

    def last(self, choice: Choice, prompt: Row, count: int) -> Floats:
        """As `PromptMethod`."""
        log_probs = choice.get("logprobs")
        values = log_probs.get("token_logprobs") if isinstance(log_probs, dict) else None
        if not isinstance(values, list):
            raise MissingLogProbsError("token_logprobs are not in the answer")
        sent, length = self.completions.as_sent(prompt), len(values) - self.extra
        if not 0 <= length - len(sent) <= self.completions.max_added_tokens:
            raise TokenMismatchError(f"log-probabilities of {length} tokens for a prompt of {len(sent)}")
        self._compare_tokens(log_probs.get("tokens") if isinstance(log_probs, dict) else None, sent, length)
        return np.asarray([checked_log_prob(value) for value in values[length - count : length]])

    def _compare_tokens(self, echoed: Any, sent: Row, length: int) -> None:
        """Raise TokenMismatchError where the server tokenised a text in another way, as far as the echo shows it."""
        if self.completions.prompts.ids or not isinstance(echoed, list):
            return
        theirs = echoed[length - len(sent) : length]
        ours = self.completions.tokenizer.decode([[token] for token in sent])
        if theirs != ours and "".join(map(str, theirs)) == "".join(ours):
            raise TokenMismatchError("the server splits this text differently")
