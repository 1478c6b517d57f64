"""The log-probabilities of continuations from a completions server: what its methods share.

A method reads a continuation as a whole (`prompt_log_probs`) or token by token (`next_token_log_probs`). Servers differ
in what they say of tokens that were not requested, or are not among the likely ones: look entries up by token, never by
position.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from harness import AnswerState, Floats, VictimError
from plugins.victims._openai.completions import Completions, Row

LogProbMethodName = Literal["logprob_token_ids", "prompt_logprobs", "echo", "top_logprobs"]
RowLogProbs = list[Floats] | AnswerState
"""Of a row: the log-probabilities of each of its continuations' tokens, in nats, [t] each; or why there are none."""
MIN_LOG_PROB = -9999.0  # what servers write for minus infinity, which JSON does not have


class MissingLogProbsError(Exception):
    """The answer does not hold the log-probabilities that were requested."""


class TokenMismatchError(MissingLogProbsError):
    """The server tokenised a prompt that was sent as text in another way than the tokenizer."""


class LogProbMethod(ABC):
    """One method to get log-probabilities.

    Attributes:
        name: what a spec writes.
        exact: whether it gives every log-probability that is requested; else only those of likely tokens.
        extra: tokens that a request adds after a row and its continuation (a server has to generate some).
        unlikely: tokens that were not among the likely ones so far.
        mismatched: rows that the server tokenised in another way so far.
    """

    name: ClassVar[LogProbMethodName]
    exact: ClassVar[bool] = True
    extra: int = 1

    def __init__(self, completions: Completions) -> None:
        self.completions = completions
        self.unlikely = self.mismatched = 0

    @abstractmethod
    def read(self, rows: Sequence[Row], continuations: Sequence[Sequence[Row]]) -> list[RowLogProbs]:
        """Log-probabilities of each row's continuations. There are none where a filter refused the row; they are
        missing where it was declined otherwise, or tokenised in another way.

        Raises:
            VictimError: the server is gone.
            MissingLogProbsError: the answer lacks them.
        """


def checked_log_prob(value: Any) -> float:
    """A log-probability from an answer, at least `MIN_LOG_PROB`. Raises MissingLogProbsError where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value) or value > 1e-3:
        raise MissingLogProbsError(f"{value!r} is not a log-probability")
    return max(float(value), MIN_LOG_PROB)


def read_log_probs(
    method: LogProbMethod, rows: Sequence[Row], continuations: Sequence[Sequence[Row]]
) -> list[RowLogProbs]:
    """`LogProbMethod.read` of a method that was found to work.

    Raises:
        VictimError: the server is gone, or no longer gives log-probabilities.
    """
    try:
        return method.read(rows, continuations)
    except MissingLogProbsError as error:
        raise VictimError(f"the server gave log-probabilities by {method.name} but no longer does: {error}") from None
