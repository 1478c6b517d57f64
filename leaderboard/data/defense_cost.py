"""What a defense adds to each answer, from records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.flops import UNKNOWN
from harness.records.cell_manifest import CellRecord, Compute
from harness.records.model_role import ModelRole


@dataclass(frozen=True)
class Overhead:
    """What the defense adds to each answer.

    Attributes:
        flops: nominal FLOPs per query, mean over cells.
        ratio: the same over an undefended query; None where records do not say.
    """

    flops: float
    ratio: float | None


UndefendedFlops = Mapping[tuple[str, ...], float]
"""Nominal FLOPs of an undefended answer to a clean prompt, by task, data hash, victim and seed."""


def undefended_answer_flops(records: Sequence[CellRecord]) -> UndefendedFlops:
    """What the cells without a defense say of it."""
    flops = {
        _victim_key(record): _victim_answer_flops(record)
        for record in records
        if record.defense_facts is not None and record.defense.name == "none"
    }
    return {key: value for key, value in flops.items() if value > 0}


def inference_compute(record: CellRecord, undefended: UndefendedFlops) -> float:
    """The defender's compute per answer, as a multiple of an undefended one; NaN where unknown."""
    base = _base_flops(record, undefended)
    added = _added_flops(record)
    if added == 0 and record.defense_facts is not None and not _acts_at_runtime(record):
        return 1.0  # other weights of the same size
    return (_victim_answer_flops(record) + added) / base if base > 0 else UNKNOWN


def overhead(records: Sequence[CellRecord], undefended: UndefendedFlops) -> Overhead | None:
    """The mean over ``records``; None where one does not say it, as older records do not, or has no defense."""
    added = [flops for record in records if (flops := _stated_overhead(record)) is not None]
    if not added or len(added) < len(records):
        return None
    ratios = [flops / _base_flops(record, undefended) for record, flops in zip(records, added, strict=True) if flops]
    ratio = sum(ratios) / len(added) if ratios else 0.0
    return Overhead(sum(added) / len(added), None if math.isnan(ratio) else ratio)


def _base_flops(record: CellRecord, undefended: UndefendedFlops) -> float:
    """Nominal FLOPs of an undefended answer to a clean prompt of this cell; NaN where unknown.

    Where no undefended cell tells, it is the defended victim's own answer, less all that the defense adds. Behind a
    defense that lengthens prompts (thoughts, a paraphrase) this is more than an undefended one.
    """
    return undefended.get(_victim_key(record), _victim_answer_flops(record))


def _stated_overhead(record: CellRecord) -> float | None:
    facts = record.defense_facts
    per_query = _per_query(record)
    # A record of no defense says nothing was added, which is true and not worth a column.
    return per_query.nominal if per_query is not None and facts is not None and facts.parts else None


def _per_query(record: CellRecord) -> Compute | None:
    return None if record.defense_facts is None else record.defense_facts.per_query


def _victim_key(record: CellRecord) -> tuple[str, ...]:
    return record.task.label, record.data_hash, record.victim.label, str(record.seed)


def _added_flops(record: CellRecord) -> float:
    per_query = _per_query(record)
    return UNKNOWN if per_query is None or per_query.nominal is None else per_query.nominal


def _acts_at_runtime(record: CellRecord) -> bool:
    facts = record.defense_facts
    return facts is not None and any(part.sort != "trained" for part in facts.parts)


def _victim_answer_flops(record: CellRecord) -> float:
    """Of the victim alone, nominal FLOPs; NaN where unknown. From older records: all that the clean prompts took, less
    the defense's share, where no judge's model has a part in it.
    """
    per_answer = record.defense_facts.per_answer if record.defense_facts is not None else None
    if per_answer is not None:
        return UNKNOWN if per_answer.nominal is None else per_answer.nominal
    total = record.clean_compute.nominal
    judged_by_model = any(ModelRole.parse(role).asker == "judge" for role in record.auxiliary)
    if not total or not record.n_clean or judged_by_model:
        return UNKNOWN
    return total / record.n_clean - (_added_flops(record) if _acts_at_runtime(record) else 0.0)
