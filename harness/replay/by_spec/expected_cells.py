"""The cells that a spec makes, held against the records that claim to be of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.api.victim import Victim
from harness.number_format import counted
from harness.records.cell_manifest import CellRecord
from harness.run.cell.base_record import base_record
from harness.run.cell.manifest import stated_defense_facts
from harness.run.cell_label import label_of
from harness.spec.cells import CellSpec
from harness.spec.load import LoadedSpec

CLAIMS: tuple[str, ...] = (
    "task",
    "victim",
    "defense",
    "attack",
    "judge",
    "threat",
    "answers",
    "seed",
    "stop_on_success",
    "target_asr",
    "clean_floor",
    "utility",
)
CLAIMS += ("tuning", "threat_label", "accounting", "task_kind", "space", "spec_name", "spec_version", "spec_hash")
"""What a record says of its cell that follows from the spec alone."""

Place = tuple[Any, ...]


def cells_of_records(spec: LoadedSpec, records: Sequence[CellRecord]) -> dict[str, CellSpec]:
    """The cell of the spec that each record is of, by the record's key; those without one are left out."""
    expected = _by_place(spec)
    found = {record.key: expected.get(_place(record, _round(record))) for record in records}
    return {key: cell for key, cell in found.items() if cell is not None}


def completeness_problems(
    spec: LoadedSpec, records: Sequence[CellRecord], listed: Mapping[str, int], sizes: Mapping[str, int]
) -> Iterator[str]:
    """Cells of the spec without a record, records of no cell of it, and what else records say that is not the spec's.

    Each a line in words. Plugins are compared by parameters, distribution and version.

    Args:
        listed: how many examples each record has rows of, by key.
        sizes: how many validation examples a task has, by its label, of those of which that is known.
    """
    expected = _by_place(spec)
    found: dict[Place, CellRecord] = {}
    for record in records:
        place = _place(record, _round(record))
        cell = expected.get(place)
        if cell is None:
            yield f"cell {record.key!a} is not one of the spec's: {_in_words(place)}"
        elif place in found:
            yield f"cells {found[place].key!a} and {record.key!a} are the same cell of the spec: {_in_words(place)}"
        else:
            found[place] = record
            yield from (f"cell {record.key!a}: {what}" for what in _differences(spec, cell, record))
            size = sizes.get(record.task.label)
            counts = _count_problems(cell, record, listed.get(record.key, 0), size)
            yield from (f"cell {record.key!a}: {what}" for what in counts)
    missing = [place for place in expected if place not in found]
    if missing:
        of = f"{len(missing)} of {counted(len(expected), 'cell')} of the spec"
        yield f"{of} {'is' if len(missing) == 1 else 'are'} missing, such as {_in_words(missing[0])}"


def fewer_clean_examples(wanted: int, records: Sequence[CellRecord], sizes: Mapping[str, int]) -> Iterator[str]:
    """Tasks of which fewer clean examples were asked than a spec wants, each a line in words: perhaps because there are
    no more, or because the run was judged again.

    Args:
        wanted: how many the spec asks for.
        sizes: how many validation examples a task has, by its label, of those of which that is known.
    """
    fewer = [record for record in records if record.n_clean < wanted]
    for task, count in {record.task.label: record.n_clean for record in fewer}.items():
        if task not in sizes:
            yield f"{task!a}: {count} clean examples of {wanted} in the spec; whether there are more is unknown here"
            continue
        there = min(wanted, sizes[task])
        cells = sum(record.task.label == task and record.n_clean < there for record in fewer)
        if cells:
            have = "1 cell has" if cells == 1 else f"{cells} cells have"
            yield (
                f"{task!a}: {have} a clean share over the listed prompts only ({count} of {there}), as in a run that "
                f"was judged again (`harness run --from`); one that leaves out the others looks the same"
            )


def _by_place(spec: LoadedSpec) -> dict[Place, CellSpec]:
    """Two cells that differ in nothing that counts (a device, say) are one."""
    return {_place(base_record(cell, spec, ""), cell.round): cell for cell in spec.cells}


def _place(record: CellRecord, round_: int | None) -> Place:
    defended = (record.task.label, record.victim.label, record.defense.label, round_)
    return *defended, record.attack.label, record.threat_label, record.seed


def _round(record: CellRecord) -> int | None:
    return None if record.defense_facts is None else record.defense_facts.round


def _in_words(place: Place) -> str:
    return ascii(label_of(*place)[:300])


def _differences(spec: LoadedSpec, cell: CellSpec, record: CellRecord) -> Iterator[str]:
    expected = base_record(cell, spec, "").model_dump(mode="json", include=set(CLAIMS))
    recorded = record.model_dump(mode="json", include=set(CLAIMS))
    for where, value, should in _unequal(recorded, expected):
        yield f"{where} is {ascii(value)[:80]}, the spec says {ascii(should)[:80]}"
    yield from _defense_differences(cell, record)
    assert isinstance(cell.victim.plugin, Victim)
    family, facts = cell.victim.plugin.family(), record.victim_facts
    if family is not None and facts is not None and facts.family != family:
        yield f"victim_facts.family is {ascii(facts.family)[:80]}, the spec's victim is of {ascii(family)[:80]}"
    steps: int = cell.attack.plugin.params.steps
    if record.attack_steps != steps:
        yield f"attack_steps is {record.attack_steps}, the spec says {steps}"
    if record.n_attacked > cell.examples:
        yield f"{record.n_attacked} examples attacked, the spec asks for {cell.examples}"
    if record.n_truncated and cell.too_long != "truncate":
        yield f"{record.n_truncated} prompts were cut off, the spec does not ask for that"


def _defense_differences(cell: CellSpec, record: CellRecord) -> Iterator[str]:
    """What a record says of its defense that follows from the spec alone, and is otherwise."""
    facts, expected = record.defense_facts, stated_defense_facts(cell)
    if facts is None:  # as in older records of undefended victims
        if expected.parts:
            yield "it has no defense_facts"
        return
    for name in ("adaptive", "attack_draws", "judge_draws"):
        value, should = getattr(facts, name), getattr(expected, name)
        if value != should:
            yield f"defense_facts.{name} is {value}, the spec says {should}"
    told = [(part.defense, part.sort, part.randomised) for part in facts.parts]
    if told != [(part.defense, part.sort, part.randomised) for part in expected.parts]:
        yield "defense_facts.parts are not the parts of the spec's defense"


def _count_problems(cell: CellSpec, record: CellRecord, listed: int, size: int | None) -> Iterator[str]:
    """How many examples were asked when clean and are listed: as many as the spec asks for, or all that there are."""
    asked = cell.clean_examples
    if size is not None:
        asked = min(asked, size)
    elif record.n_clean < asked:  # whether the task has no more is not known here
        asked = record.n_clean
    rows = min(cell.examples, asked)
    if listed != rows:
        yield f"lists {listed} examples, the spec asks for {rows}"
    # Judged again, a cell of answers in text has those to the listed prompts alone.
    judged_anew = record.task_kind == "text" and record.n_clean == rows
    if record.n_clean != asked and not judged_anew:
        yield f"{record.n_clean} clean examples, the spec asks for {asked}"


def _unequal(
    recorded: Mapping[str, Any], expected: Mapping[str, Any], where: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Fields that differ, by dotted name, with both values."""
    for name in sorted(recorded.keys() | expected.keys()):
        value, should = recorded.get(name), expected.get(name)
        if isinstance(value, dict) and isinstance(should, dict):
            yield from _unequal(value, should, f"{where}{name}.")
        elif value != should or type(value) is not type(should):
            yield f"{where}{name}", value, should
