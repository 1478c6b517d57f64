"""What records say of a defense besides its training: what it adds to each answer, and how it was attacked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.records.cell import CellRecord


@dataclass(frozen=True)
class Overhead:
    """What the defense adds to each answer.

    Attributes:
        flops: nominal FLOPs per query, mean over cells.
        ratio: the same over an undefended query; None where records do not say.
    """

    flops: float
    ratio: float | None


def overhead(records: Sequence[CellRecord]) -> Overhead | None:
    """The mean over ``records`` of those that say it; None where none does."""
    return None


def marks(records: Sequence[CellRecord]) -> tuple[str, ...]:
    """How the defense was attacked, in the words of the records, sorted."""
    return ()
