"""Labels that tell plugins apart where records of several runs have one label for files of different content."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Literal

from harness.records.cell_manifest import CellRecord
from harness.records.model_role import ModelRole
from harness.records.read import Cell

Part = Literal["victim", "defense", "attack", "judge"]
_DIGITS = 6


def with_distinct_labels(cells: Sequence[Cell]) -> list[Cell]:
    """The cells, labels of different content with the first digits of its hash behind them: two folders called alike,
    or one that held another model when another run read it.
    """
    found = list(cells)
    found = _told_apart(found, "victim", lambda record: record.task.label)
    found = _told_apart(found, "defense", lambda record: (record.task.label, record.victim.label))
    found = _told_apart(found, "attack", lambda record: (record.task.label, record.victim.label, record.defense.label))
    return _told_apart(found, "judge", lambda record: (record.task.label, record.victim.label))


def _told_apart(cells: Sequence[Cell], part: Part, group: Callable[[CellRecord], Hashable]) -> list[Cell]:
    contents: dict[Hashable, set[tuple[str, ...]]] = {}
    for cell in cells:
        if content := _content(cell.record, part):
            contents.setdefault((group(cell.record), getattr(cell.record, part).label), set()).add(content)
    return [
        _relabelled(cell, part)
        if len(contents.get((group(cell.record), getattr(cell.record, part).label), ())) > 1
        else cell
        for cell in cells
    ]


def _relabelled(cell: Cell, part: Part) -> Cell:
    plugin, content = getattr(cell.record, part), _content(cell.record, part)
    if not content:
        return cell
    digits = " ".join(each[:_DIGITS] for each in content)
    named = plugin.model_copy(update={"label": f"{plugin.label} ({digits})"})
    return replace(cell, record=cell.record.model_copy(update={part: named}))


def _content(record: CellRecord, part: Part) -> tuple[str, ...]:
    """What identifies the files behind a part of a cell; empty where there are none, or the record does not say."""
    if part == "victim":
        facts = record.victim_facts
        return (facts.content,) if facts is not None and facts.content else ()
    roles = sorted(record.auxiliary.items())
    return tuple(facts.content for role, facts in roles if facts.content and ModelRole.parse(role).asker == part)
