"""Cells of one submission against each other: what they share must be the same in all of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from harness.records.cell import CellRecord

Of = Callable[[CellRecord], Hashable]


def across_problems(records: Sequence[CellRecord]) -> Iterator[str]:
    """What cells say differently of one and the same thing."""
    for thing, group, value in _SHARED:
        seen: dict[Hashable, tuple[Any, str]] = {}
        for record in records:
            said, first = seen.setdefault(group(record), (value(record), record.key))
            if said != value(record):
                yield f"cells {first} and {record.key}: say different things of {thing}"
                break
    yield from _rounds(records)


def across_notes(records: Sequence[CellRecord]) -> Iterator[str]:
    """What is the same wherever a model answers alike each time, and need not be where it does not."""
    seen: dict[Hashable, tuple[Any, str]] = {}
    for record in records:
        said = (record.n_clean, record.n_clean_correct)
        before, first = seen.setdefault(_checkpoint(record), (said, record.key))
        if before != said:
            yield (
                f"cells {first} and {record.key}: one victim and defense got {before[1]} of {before[0]} clean examples "
                f"right in one and {said[1]} of {said[0]} in the other"
            )
            return


def _rounds(records: Sequence[CellRecord]) -> Iterator[str]:
    """What a defense has cost until a round is no less than what it had cost until an earlier one."""
    found: dict[tuple[tuple[str, str, int], str, str], dict[int, tuple[float, float]]] = {}
    for record in records:
        facts = record.defense_facts
        if facts is not None and facts.round is not None:
            costs = facts.search.nominal or 0.0, facts.training.nominal or 0.0
            found.setdefault((_model(record), record.defense.label, record.threat_label), {})[facts.round] = costs
    for (model, defense, _), rounds in found.items():
        ordered = [rounds[number] for number in sorted(rounds)]
        if any(a > c or b > d for (a, b), (c, d) in pairwise(ordered)):
            yield f"defense {defense!a} of victim {model[1]!a}: a later round has cost less than an earlier one"


def _model(record: CellRecord) -> tuple[str, str, int]:
    return record.task.label, record.victim.label, record.seed


def _checkpoint(record: CellRecord) -> Hashable:
    facts = record.defense_facts
    trained_under = record.threat_label if facts is not None and facts.round is not None else ""
    return *_model(record), record.defense.label, facts and facts.round, trained_under


def _facts(record: CellRecord) -> Hashable:
    return None if record.victim_facts is None else record.victim_facts.model_dump_json()


def _defense(record: CellRecord) -> Hashable:
    """All that is known of a defense but what it looked like under the cell's own attack."""
    facts = record.defense_facts
    return None if facts is None else facts.model_copy(update={"diagnostics": {}}).model_dump_json()


_SHARED: tuple[tuple[str, Of, Of], ...] = (
    ("a task's data (data_hash)", lambda r: r.task.label, lambda r: r.data_hash),
    ("a victim (its facts)", _model, _facts),
    ("a victim's size", lambda r: r.victim.label + r.task.label, lambda r: r.victim_facts and r.victim_facts.n_params),
    ("a defense (its facts)", _checkpoint, _defense),
    ("the judge", lambda r: 0, lambda r: r.judge.model_dump_json()),
    ("the stopping rule or the target ASR", lambda r: 0, lambda r: (r.stop_on_success, r.target_asr)),
    ("the kind of a task", lambda r: r.task.label, lambda r: r.task_kind),
)
