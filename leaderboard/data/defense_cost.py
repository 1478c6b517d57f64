"""What records say of a defense besides its training: what it adds to each answer, and how it was attacked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.flops import UNKNOWN
from harness.records.cell import CellRecord, Compute
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


Undefended = Mapping[tuple[str, ...], float]
"""Nominal FLOPs of an undefended answer to a clean prompt, by task, victim and seed."""


def undefended_answers(records: Sequence[CellRecord]) -> Undefended:
    """What the cells without a defense say of it."""
    found = {_victim(r): _answer(r) for r in records if r.defense_facts is not None and r.defense.name == "none"}
    return {key: flops for key, flops in found.items() if flops > 0}


def undefended_answer(record: CellRecord, undefended: Undefended) -> float:
    """Nominal FLOPs of an undefended answer to a clean prompt of this cell; NaN where unknown.

    Where no undefended cell tells, it is the defended victim's own answer, less all that the defense adds. Behind a
    defense that lengthens prompts (thoughts, a paraphrase) this is more than an undefended one.
    """
    return undefended.get(_victim(record), _answer(record))


def inference_compute(record: CellRecord, undefended: Undefended) -> float:
    """The defender's compute per answer, as a multiple of an undefended one; NaN where unknown."""
    base = undefended_answer(record, undefended)
    added = _added(record)
    if added == 0 and record.defense_facts is not None and not _at_runtime(record):
        return 1.0  # other weights of the same size
    return (_answer(record) + added) / base if base > 0 else UNKNOWN


def overhead(records: Sequence[CellRecord], undefended: Undefended) -> Overhead | None:
    """The mean over ``records``; None where one does not say it, as older records do not, or has no defense."""
    found = [(record, flops) for record in records if (flops := _per_query(record)) is not None]
    if not found or len(found) < len(records):
        return None
    ratios = [flops / undefended_answer(record, undefended) for record, flops in found if flops]
    ratio = sum(ratios) / len(found) if ratios else 0.0
    return Overhead(sum(flops for _, flops in found) / len(found), None if math.isnan(ratio) else ratio)


def marks(records: Sequence[CellRecord]) -> tuple[str, ...]:
    """``adaptive`` or ``static`` where records say whether the attack searched against the defended victim."""
    said = {r.defense_facts.adaptive for r in records if r.defense_facts is not None and r.defense_facts.parts}
    return tuple(word for word, told in (("adaptive", True), ("static", False)) if told in said)


def _per_query(record: CellRecord) -> float | None:
    facts = record.defense_facts
    spent: Compute | None = getattr(facts, "per_query", None)
    # A record of no defense says nothing was added, which is true and not worth a column.
    return spent.nominal if spent is not None and getattr(facts, "parts", None) else None


def _victim(record: CellRecord) -> tuple[str, ...]:
    return record.task.label, record.data_hash, record.victim.label, str(record.seed)


def _added(record: CellRecord) -> float:
    facts = record.defense_facts
    spent: Compute | None = getattr(facts, "per_query", None)
    return UNKNOWN if spent is None or spent.nominal is None else spent.nominal


def _at_runtime(record: CellRecord) -> bool:
    facts = record.defense_facts
    return facts is not None and any(part.sort != "trained" for part in facts.parts)


def _answer(record: CellRecord) -> float:
    """Of the victim alone, nominal FLOPs; NaN where unknown. From older records: all that the clean prompts took, less
    the defense's share, where no judge's model has a part in it.
    """
    said = record.defense_facts.per_answer if record.defense_facts is not None else None
    if said is not None:
        return UNKNOWN if said.nominal is None else said.nominal
    spent = record.clean_compute.nominal
    judged = any(ModelRole.parse(role).asker == "judge" for role in record.auxiliary)
    if not spent or not record.n_clean or judged:
        return UNKNOWN
    return spent / record.n_clean - (_added(record) if _at_runtime(record) else 0.0)
