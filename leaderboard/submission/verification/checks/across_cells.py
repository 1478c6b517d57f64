"""Cells of one submission against each other: what they share must be the same in all of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from harness.records.cell_manifest import CellRecord
from harness.records.exclusion import NOT_ATTACKED
from leaderboard.submission.verification.checks.clean_examples import is_served
from leaderboard.submission.verification.submitted_rows import SubmittedRows

Key = Callable[[CellRecord], Hashable]


class _SharedFact(NamedTuple):
    """Cells with the same ``group`` must have the same ``value``."""

    name: str
    group: Key
    value: Key


def across_cells_problems(records: Sequence[CellRecord]) -> Iterator[str]:
    """What cells say differently of one and the same thing."""
    for fact in _SHARED_FACTS:
        first_of_group: dict[Hashable, tuple[Hashable, str]] = {}
        for record in records:
            value = fact.value(record)
            first_value, first_key = first_of_group.setdefault(fact.group(record), (value, record.key))
            if first_value != value:
                yield f"cells {first_key} and {record.key}: disagree about {fact.name}"
                break
    yield from _round_problems(records)


def clean_answer_problems(records: Sequence[CellRecord], digests: Mapping[str, str]) -> Iterator[str]:
    """Attacks on one victim and defense that tell different things of its answers to the same clean prompts: who was
    right, and who was left out.

    Args:
        digests: of each cell's clean examples, by key; see `clean_digest`.
    """
    yield from _clean_differences([record for record in records if not is_served(record)], digests)


def clean_answer_notes(records: Sequence[CellRecord], digests: Mapping[str, str]) -> Iterator[str]:
    """The same of models that are served: they may answer otherwise each time."""
    yield from _clean_differences([record for record in records if is_served(record)], digests)


def clean_digest(clean: SubmittedRows) -> str:
    """Of what a cell lists of its clean examples: which, their labels, those predicted, and why one was left out; ""
    where another judge had a say in that.
    """
    if NOT_ATTACKED in clean.excluded:
        return ""
    columns = [clean[name].tolist() for name in ("label", "predicted", "has_answer")]
    listed = [[clean.names[place] for place in clean.example.tolist()], clean.excluded, *columns]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def _clean_differences(records: Sequence[CellRecord], digests: Mapping[str, str]) -> Iterator[str]:
    first_of_checkpoint: dict[Hashable, CellRecord] = {}
    most_asked: dict[str, int] = {}
    for record in records:
        most_asked[record.task.label] = max(record.n_clean, most_asked.get(record.task.label, 0))
    for record in records:
        # Judged again, a cell of answers in text has those to the listed prompts alone, of a choice by another judge.
        fewer = record.task_kind == "text" and record.n_clean < most_asked[record.task.label]
        if fewer or not digests.get(record.key):
            continue
        first = first_of_checkpoint.setdefault((_checkpoint(record), record.threat_label), record)
        if (first.n_clean, first.n_clean_correct) != (record.n_clean, record.n_clean_correct):
            yield (
                f"cells {first.key} and {record.key}: one victim and defense got {first.n_clean_correct} of "
                f"{first.n_clean} clean examples right in one and {record.n_clean_correct} of {record.n_clean} in the "
                "other"
            )
            return
        if digests[first.key] != digests[record.key]:
            yield (
                f"cells {first.key} and {record.key}: one victim and defense answered the same clean examples "
                "differently, or different ones were left out"
            )
            return


def _round_problems(records: Sequence[CellRecord]) -> Iterator[str]:
    """What a defense has cost until a round is no less than what it had cost until an earlier one."""
    costs_of_defense: dict[tuple[tuple[str, str, int], str, str], dict[int, tuple[float, float]]] = {}
    for record in records:
        facts = record.defense_facts
        if facts is not None and facts.round is not None:
            costs = facts.search.nominal or 0.0, facts.training.nominal or 0.0
            defense = (_victim(record), record.defense.label, record.threat_label)
            costs_of_defense.setdefault(defense, {})[facts.round] = costs
    for ((_, victim, _), defense_label, _), rounds in costs_of_defense.items():
        ordered = [rounds[number] for number in sorted(rounds)]
        if any(before[0] > after[0] or before[1] > after[1] for before, after in pairwise(ordered)):
            yield f"defense {defense_label!a} of victim {victim!a}: a later round has cost less than an earlier one"


def _victim(record: CellRecord) -> tuple[str, str, int]:
    return record.task.label, record.victim.label, record.seed


def _checkpoint(record: CellRecord) -> Hashable:
    facts = record.defense_facts
    trained_under = record.threat_label if facts is not None and facts.round is not None else ""
    return *_victim(record), record.defense.label, facts and facts.round, trained_under


def _victim_facts(record: CellRecord) -> Hashable:
    return None if record.victim_facts is None else record.victim_facts.model_dump_json()


def _defense_facts(record: CellRecord) -> Hashable:
    """All that is known of a defense but what it looked like under the cell's own attack."""
    facts = record.defense_facts
    return None if facts is None else facts.model_copy(update={"diagnostics": {}}).model_dump_json()


_SHARED_FACTS = (
    _SharedFact("a task's data (data_hash)", lambda r: r.task.label, lambda r: r.data_hash),
    _SharedFact("a task's labels", lambda r: r.task.label, lambda r: tuple(r.labels)),
    _SharedFact("a victim (its facts)", _victim, _victim_facts),
    _SharedFact(
        "a victim's size", lambda r: r.victim.label + r.task.label, lambda r: r.victim_facts and r.victim_facts.n_params
    ),
    _SharedFact("a defense (its facts)", _checkpoint, _defense_facts),
    _SharedFact("the judge", lambda r: r.task_kind, lambda r: r.judge.model_dump_json()),
    _SharedFact(
        "the stopping rule, the target ASR, the floor of clean accuracy or the limit on utility",
        lambda r: 0,
        lambda r: (r.stop_on_success, r.target_asr, r.clean_floor, r.utility and r.utility.model_dump_json()),
    ),
    _SharedFact(
        "how many clean examples a task has",
        lambda r: r.task.label if r.task_kind == "labels" else r.key,  # judged again, texts may have fewer
        lambda r: r.n_clean,
    ),
    _SharedFact("the kind of a task", lambda r: r.task.label, lambda r: r.task_kind),
)
