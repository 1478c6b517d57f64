"""What a cell's record says of its victim, its defense and its attack, with unknown amounts as NaN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from harness.errors import DataError
from harness.flops import UNKNOWN
from harness.records.cell_manifest import CellRecord, Compute, VictimFacts
from harness.records.model_role import ModelRole


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


def preparation_flops(record: CellRecord) -> float:
    """What it took to make the victim ready before any defense, FLOPs, nominal convention; NaN where unknown."""
    return _nominal(victim_facts(record).preparation)


def defense_flops(record: CellRecord) -> float:
    """All that preparing the defense took until this checkpoint, FLOPs, nominal convention; 0 without a defense, NaN
    where unknown.
    """
    return sum(defense_preparation(record).values())


DefenseExpense = Literal["search", "training", "fit", "models", "pretraining"]
"""What a defense is prepared by: the search for training attacks, training of weights, fitting of guards, transforms
and votes, making ready the models that it asks, and what in the victim's pretraining hardens it.
"""


def defense_preparation(record: CellRecord) -> dict[DefenseExpense, float]:
    """What preparing the defense took, FLOPs, nominal convention, NaN where unknown.

    A model that several parts ask counts once, and not at all where it is the victim itself; what it took to pretrain
    a model that is used as it is counts as little as the victim's own pretraining does.
    """
    facts, victim = record.defense_facts, record.victim_facts
    hardened = 0.0 if victim is None or victim.pretraining is None else _nominal(victim.pretraining.robust)
    if facts is None:
        return {"search": 0.0, "training": 0.0, "fit": 0.0, "models": 0.0, "pretraining": hardened}
    models = dict(facts.search_models)
    for role, model in record.auxiliary.items():
        if ModelRole.parse(role).asker == "defense":
            models[model.artifact] = model.preparation
    if victim is not None:
        models.pop(victim.artifact, None)
    return {
        "search": _nominal(facts.search),
        "training": _nominal(facts.training),
        "fit": _nominal(facts.fit),
        "models": sum(map(_nominal, models.values())),
        "pretraining": hardened,
    }


def _nominal(compute: Compute) -> float:
    return UNKNOWN if compute.nominal is None else compute.nominal


def defense_round(record: CellRecord) -> int:
    """The defense's round; 0 when it has none."""
    facts = record.defense_facts
    return 0 if facts is None or facts.round is None else facts.round


def attacked_setting(record: CellRecord) -> dict[str, Any]:
    """Task, victim, defense, round, attack and threat model of a cell, by name."""
    return {
        "task": record.task.label,
        "victim": record.victim.label,
        "defense": record.defense.label,
        "round": defense_round(record),
        "attack": record.attack.label,
        "threat": record.threat_label,
    }


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


def is_as_it_came(record: CellRecord) -> bool:
    """Whether nothing of the defended model was trained or fitted here, so that all seeds have one and the same."""
    facts = record.defense_facts
    spent = [victim_facts(record).preparation]
    spent += [] if facts is None else [facts.search, facts.training, facts.fit]
    return all(each.nominal == 0 for each in spent)
