"""A tokenizer as the harness needs it: text to ids and back, in batches, without a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int64]  # token ids
Floats = NDArray[np.float64]


@runtime_checkable
class Tokenizer(Protocol):
    """What the engine asks of a tokenizer.

    Attributes:
        vocabulary: number of ids.
        special: ids that no attack may use (special and added control tokens, ids without a text).
        left, right: special ids that the model expects around every prompt, e.g. [CLS] and [SEP].
    """

    vocabulary: int
    special: frozenset[int]
    left: tuple[int, ...]
    right: tuple[int, ...]

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokens of each text, without special ids."""

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Text of each row of ids, nothing cleaned up."""

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Character span of each token of ``text``."""
