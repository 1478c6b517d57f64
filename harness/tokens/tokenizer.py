"""A tokenizer as the harness needs it: text to ids and back, in batches, without a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int64]  # token ids
Floats = NDArray[np.float64]

Target = int | tuple[int, ...]
"""What the loss is of: the cross-entropy of a label by its index, or the mean NLL of some ids (at least one) as
continuation of the row. A backend with labels takes indices, one that answers in text takes ids."""


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


class RoundTrip(Protocol):
    """Says whether the text of a row of ids tokenises back to that row, and where such texts may be split.

    Attributes:
        unspelled: ids that stand in a prompt's fixed parts alone: a string with one of them does not survive.
    """

    @property
    def unspelled(self) -> Tokens: ...

    def splits(self, rows: Tokens) -> NDArray[np.bool_]:
        """Whether the text of each row [K, n] is always split before a token, shape [K, n]; at the first it is."""

    def stable(self, rows: Tokens) -> NDArray[np.bool_]:
        """Whether each row [K, n] is what its own text tokenises to, shape [K]."""


@runtime_checkable
class SegmentedTokenizer(Protocol):
    """A tokenizer of which is known where it splits every text into segments that do not depend on each other.

    Attributes:
        segments: checks rows of ids segment by segment; None where no split points are known after all.
    """

    @property
    def segments(self) -> RoundTrip | None: ...
