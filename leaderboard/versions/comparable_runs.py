"""Whether two runs put the same test to their models: what must be equal before a difference says anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from harness.errors import DataError
from harness.records.cell_manifest import CellRecord, PluginRecord
from harness.records.read import Run
from harness.records.visible_text import visible

Labels = Mapping[str, CellRecord]
"""Label to a record that has it."""


def check_comparable(old: Run, new: Run) -> list[str]:
    """What is to be said of two runs that may be compared, in words: other versions of plugins.

    Raises:
        DataError: they may not: no finished cell, two specs, other data, attacks, threat models, judges or answers.
    """
    before, after = ([cell.record for cell in run.cells] for run in (old, new))
    for run, records in ((old, before), (new, after)):
        if not records:
            raise DataError(f"{run.path}: no finished cell. Go on with the run, then compare.")
    specs = [sorted({f"{r.spec_name} version {r.spec_version}" for r in records}) for records in (before, after)]
    if specs[0] != specs[1]:
        _refuse(old, new, f"they are of two specs, {', '.join(specs[0])} and {', '.join(specs[1])}", "Run one spec")
    kinds: list[tuple[str, Callable[[CellRecord], str], Callable[[CellRecord], Any]]] = [
        ("task", lambda r: r.task.label, lambda r: r.task),
        ("attack", lambda r: r.attack.label, lambda r: r.attack),
        ("threat model", lambda r: r.threat_label, lambda r: r.threat),
        ("judge", lambda r: r.judge.label, lambda r: r.judge),
    ]
    notes: list[str] = []
    for kind, label, value in kinds:
        left, right = ({label(r): r for r in records} for records in (before, after))
        if wrong := next(_differences(kind, left, right, value), None):
            mend = "Judge the older one again, `harness run SPEC --from RUN`, or run" if kind == "judge" else "Run"
            _refuse(old, new, wrong, f"{mend} one spec")
        notes += _other_versions(kind, left, right, value)
    for what, of in _OF_CELLS.items():
        was, now = (_by_place(records, of) for records in (before, after))
        for place in sorted(was.keys() & now.keys()):
            if was[place] != now[place]:
                where = visible(" × ".join(place))
                _refuse(old, new, f"{what} of {where}: {_short(was[place])} and {_short(now[place])}", "Run one spec")
    return notes


_OF_CELLS: dict[str, Callable[[CellRecord], Any]] = {
    "the data (their hash)": lambda r: r.data_hash[:12],
    "the budget in steps": lambda r: r.attack_steps,
    "whether searches stop at success": lambda r: r.stop_on_success,
    "how FLOPs are counted": lambda r: r.accounting,
    "how answers are drawn": lambda r: None if r.answers is None else r.answers.model_dump(mode="json"),
}
"""What cells of one task, threat model and attack have in common."""


def _refuse(old: Run, new: Run, what: str, mend: str) -> None:
    raise DataError(f"{old.path} and {new.path} cannot be compared: {what}. {mend} for both versions.")


def _differences(kind: str, old: Labels, new: Labels, value: Callable[[CellRecord], Any]) -> Iterator[str]:
    """What differs of plugins, or threat models, that have one label, or that have one name and no partner."""
    for label in sorted(old.keys() & new.keys()):
        if told := _other_params(value(old[label]), value(new[label])):
            yield f"{kind} {visible(label)}: {told}"
    left, right = sorted(old.keys() - new.keys()), sorted(new.keys() - old.keys())
    for label in left:
        for other in right:
            was, now = value(old[label]), value(new[other])
            if not isinstance(was, PluginRecord) or kind == "judge" or was.name == now.name:
                told = _other_params(was, now) or "the labels differ"
                yield f"{kind} {visible(label)} and {kind} {visible(other)}: {told}"


def _other_params(old: PluginRecord | Mapping[str, Any], new: PluginRecord | Mapping[str, Any]) -> str:
    """Which parameters differ, in words; "" where none does."""
    if isinstance(old, PluginRecord) and isinstance(new, PluginRecord):
        if old.name != new.name:
            return f"{old.name} and {new.name}"
        old, new = old.params, new.params
    assert not isinstance(old, PluginRecord)
    assert not isinstance(new, PluginRecord)
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    return ", ".join(f"{name} is {_short(old.get(name))} and {_short(new.get(name))}" for name in names)


def _other_versions(kind: str, old: Labels, new: Labels, value: Callable[[CellRecord], Any]) -> Iterator[str]:
    for label in sorted(old.keys() & new.keys()):
        was, now = value(old[label]), value(new[label])
        if isinstance(was, PluginRecord) and was.version != now.version:
            yield (
                f"{kind} {visible(label)} is of {was.distribution} {was.version} in OLD and {now.version} in NEW: it "
                "may work differently"
            )


def _by_place(records: Sequence[CellRecord], of: Callable[[CellRecord], Any]) -> dict[tuple[str, ...], Any]:
    return {(r.task.label, r.threat_label, r.attack.label): of(r) for r in records}


def _short(value: Any) -> str:
    return visible(f"{value!r:.60}")
