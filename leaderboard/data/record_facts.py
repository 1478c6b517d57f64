"""What a cell's record says of its victim, its defense and its attack, with unknown amounts as NaN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.errors import DataError
from harness.flops import UNKNOWN
from harness.records.cell import CellRecord, VictimFacts


def victim_facts(record: CellRecord) -> VictimFacts:
    """The victim's facts. Raises `DataError` where a finished cell lacks them."""
    facts = record.victim_facts
    if facts is None:
        raise DataError(
            f"cell {record.key}: finished, but without the facts of its victim. "
            "Remove its folder and run the spec again."
        )
    return facts


def reference_flops(record: CellRecord) -> float:
    """What other compute is divided by, FLOPs, nominal convention; NaN where unknown (older records say 0)."""
    flops = victim_facts(record).reference_flops
    return flops if flops is not None and flops > 0 else UNKNOWN


def defense_flops(record: CellRecord) -> float:
    """Search and training of the defense until this checkpoint, FLOPs, nominal convention; 0 without a defense, NaN
    where unknown.
    """
    facts = record.defense_facts
    amounts = () if facts is None else (facts.search.nominal, facts.training.nominal)
    return sum(UNKNOWN if amount is None else amount for amount in amounts)


def defense_round(record: CellRecord) -> int:
    """The defense's round; 0 when it has none."""
    facts = record.defense_facts
    return 0 if facts is None or facts.round is None else facts.round


def adaptivity(records: Sequence[CellRecord]) -> tuple[str, ...]:
    """``adaptive`` or ``static``, or both: whether the attacks searched against the defended victim, where records say
    so.
    """
    adaptive = {r.defense_facts.adaptive for r in records if r.defense_facts is not None and r.defense_facts.parts}
    return tuple(name for name, value in (("adaptive", True), ("static", False)) if value in adaptive)


def replay_source(record: CellRecord) -> dict[str, Any] | None:
    """For an attack that tries recorded strings: attack, victim, defense, … where they were found. None for others."""
    source = record.attack_facts.get("source")
    return source if isinstance(source, dict) else None
