"""What the engine asks of a model. The torch implementation is in `torch_backend.py`; nothing here imports torch.

A backend works on token ids and knows nothing of attacks, threat models or defenses. It reports the compute it really
ran; the nominal convention is applied by the meter. Rows are never padded, so a result does not depend on which rows
share a call (beyond the rounding of differently shaped matrix products).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from harness.attack import GradientAnswer
from harness.tokens.text import Floats, Tokenizer, Tokens


@dataclass(frozen=True, slots=True)
class ScoreItem:
    """Candidates of one example: each row is ``before + candidate + after``.

    Attributes:
        before, after: ids around the attack string, shapes [P] and [T].
        candidates: shape [K, S]; K may be 0.
        target: index of the label whose cross-entropy is the loss (the proxy label).
        near: shape [S], the string the candidates derive from, or None.
    """

    before: Tokens
    candidates: Tokens
    after: Tokens
    target: int
    near: Tokens | None = None


@dataclass(frozen=True, slots=True)
class Scored:
    """Answer to a `ScoreItem`: label logits [K, labels], losses [K] in nats, and the executed FLOPs of the item."""

    logits: Floats
    losses: Floats
    executed: float


@dataclass(frozen=True, slots=True)
class GradientItem:
    """One attack string whose one-hot gradient is wanted.

    Attributes:
        tokens: shape [S].
        allowed: ids that may be returned, sorted, shape [A].
        top: how many per position (at most A).
    """

    before: Tokens
    tokens: Tokens
    after: Tokens
    target: int
    allowed: Tokens
    top: int


@dataclass(frozen=True, slots=True)
class Differentiated:
    """Answer to a `GradientItem`."""

    answer: GradientAnswer
    executed: float


@runtime_checkable
class Remembering(Protocol):
    """A backend that keeps something from one request for the next."""

    def begin(self, befores: Sequence[Tokens]) -> None:
        """A search begins, or goes on with examples of these beginnings: forget everything else.

        What is remembered saves compute, so without this the executed FLOPs of a search would depend on what the
        process had done before it, and on where it was stopped. Computing the beginnings anew is not metered.
        """


class Backend(Protocol):
    """A loaded model.

    Attributes:
        tokenizer: of the model.
        n_params: all parameters as used (N of the nominal convention).
        n_params_non_embedding: without input and position embeddings and without an untied output embedding.
        n_labels: width of the answers.
        context: longest row in tokens.
    """

    tokenizer: Tokenizer
    n_params: int
    n_params_non_embedding: int
    n_labels: int
    context: int

    def classify(self, rows: Sequence[NDArray[np.int64]]) -> tuple[Floats, list[float]]:
        """Label logits [rows, labels] of whole rows of ids, and the executed FLOPs of each row."""

    def score(self, items: Sequence[ScoreItem]) -> list[Scored]:
        """Losses of many examples' candidates, answered together."""

    def gradient(self, items: Sequence[GradientItem]) -> list[Differentiated]:
        """One-hot gradients of many examples, answered together.

        Raises:
            AccessError: the model gives no gradients.
        """

    def describe(self) -> dict[str, object]:
        """Facts for the manifest: dtype, device, head, agreement with an eager forward."""
