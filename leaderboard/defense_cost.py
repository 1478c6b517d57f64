"""What records say of a defense besides its training: what it adds to each answer, and how it was attacked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.records.cell import CellRecord, Compute


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
    """The mean over ``records``; None where one does not say it, as older records do not, or has no defense."""
    found = [_per_query(record) for record in records]
    known = [each for each in found if each is not None]
    return Overhead(sum(known) / len(known), None) if known and len(known) == len(found) else None


def marks(records: Sequence[CellRecord]) -> tuple[str, ...]:
    """``adaptive`` or ``static`` where records say whether the attack searched against the defended victim."""
    said = {getattr(r.defense_facts, "adaptive", None) for r in records if getattr(r.defense_facts, "parts", None)}
    return tuple(word for word, told in (("adaptive", True), ("static", False)) if told in said)


def _per_query(record: CellRecord) -> float | None:
    facts = record.defense_facts
    spent: Compute | None = getattr(facts, "per_query", None)
    # A record of no defense says nothing was added, which is true and not worth a column.
    return spent.nominal if spent is not None and getattr(facts, "parts", None) else None
