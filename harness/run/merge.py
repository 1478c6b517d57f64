"""Shards, or parts of a run, put together into one run directory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import RunError
from harness.number_format import counted
from harness.records.read import Cell, read_cell
from harness.run.cell_label import record_label
from harness.run.merge_inputs import CellsFound, MergeProgress, RunPart, check_alike, check_same, read_cells
from harness.run.run_folder import RunFolder, now
from harness.run.shards import digest
from harness.store.atomic import write_json

SHOWN = 20  # lines of an error that names what is missing


@dataclass(frozen=True)
class Merged:
    """How a merge ended.

    Attributes:
        cells: how many the spec has.
        finished: of them, those in the target now.
        copied: of those, the ones that were not there before.
        absent: what is missing, a line each.
        damaged: what cannot be read and was left out, a line each.
    """

    cells: int
    finished: int
    copied: int
    absent: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def merge(
    parts: Sequence[RunPart], out: Path, partial: bool = False, progress: MergeProgress = lambda what, done, total: None
) -> Merged:
    """Copy every finished cell of the ``parts`` to the run in ``out``, which may hold some of them already.

    Nothing is written before everything was read. Each cell appears in ``out`` whole; a merge that was stopped is done
    by the same call.

    Args:
        parts: of `read_parts`.
        partial: merge what is there when cells are missing or damaged.

    Raises:
        RunError: cells are missing or damaged, two parts contradict each other, or ``out`` holds something else.
    """
    target = RunFolder(out)
    existing = _existing_run(target, parts)
    found = read_cells([*existing, *(part for part in parts if not _same_folder(part.folder, target))], progress)
    damaged = {path: error for path, error in found.damaged.items() if path.parent != target.cells}
    absent = _missing_lines(parts, found, _cells_of_spec(parts, found), bool(damaged))
    if (absent or damaged) and not partial:
        raise RunError(_refusal(out, absent, list(damaged.values())))
    todo = {key: path for key, path in found.finished.items() if path.parent != target.cells}
    with target.locked():
        _existing_run(target, parts)  # somebody may have begun a run there meanwhile
        _write_manifest(target, parts)
        _copy(todo, target, found.damaged, progress)
    return Merged(_cells_of_spec(parts, found), len(found.finished), len(todo), absent, list(damaged.values()))


def _same_folder(one: RunFolder, other: RunFolder) -> bool:
    return one.root.resolve() == other.root.resolve()


def _existing_run(target: RunFolder, parts: Sequence[RunPart]) -> list[RunPart]:
    """The run that the target is already, if it is one. Raises RunError where that is no whole run of the spec."""
    if not target.manifest.exists():
        return []
    run = RunPart.read(target.root)
    if run.shard:
        raise RunError(f"{target.root}: holds {run.shard}; give another --out for the whole run")
    check_alike(parts[0], run)
    return [run]


def _cells_of_spec(parts: Sequence[RunPart], found: CellsFound) -> int:
    """How many cells the spec has. Raises RunError where cells are there that it has not."""
    cells = parts[0].of_spec
    known = next((part.info["cells_digest"] for part in parts if "cells_digest" in part.info), None)
    finished = found.finished
    if len(finished) > cells or (len(finished) == cells and known and digest(finished) != known):
        folders = sorted({str(path.parent.parent) for path in finished.values()})
        raise RunError(
            f"{', '.join(folders)}: hold cells of other data or models than the spec had when these runs began; put "
            "the same in place on every machine, and run the old cells again in a new folder"
        )
    return cells


def _missing_lines(parts: Sequence[RunPart], found: CellsFound, cells: int, damaged: bool) -> list[str]:
    """What is missing, a line each, besides what is damaged."""
    if len(found.finished) == cells:
        return []  # wherever they come from: an empty shard need not be there
    lines = []
    there = {part.shard.index for part in parts if part.shard}
    of = next((part.shard.of for part in parts if part.shard), 0)
    if lost := [str(index) for index in range(1, of + 1) if index not in there]:
        lines.append(f"shard{'s' if len(lost) > 1 else ''} {', '.join(lost)} of {of}: not given")
    for record, path in found.failed.values():
        lines.append(f"{path}: failed: {record_label(record)}: {record.error}")
    lines += [f"{path}: begun, not finished" for path in found.begun.values()]
    if all(part.shard for part in parts):
        not_begun = {part.folder.root: found.missing[part.folder.root] for part in parts}
        lines += [f"{root}: {counted(count, 'cell')} not begun" for root, count in not_begun.items() if count]
    elif (left := cells - len(found.finished.keys() | found.failed.keys() | found.begun.keys())) and not damaged:
        lines.append(f"{counted(left, 'cell')} not begun in any of these runs")
    if lines or damaged:
        return lines
    return [
        f"{counted(cells - len(found.finished), 'cell')} in none of these shards: they were split with other "
        "estimates, by another version of the harness or a plugin; merge with --partial, and `harness run` the spec "
        "in the merged run"
    ]


def _refusal(out: Path, absent: Sequence[str], damaged: Sequence[str]) -> str:
    lines = [*absent, *damaged]
    more = [f"… and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    head = (
        f"{out}: nothing merged, because cells are missing or damaged; finish these, or merge the rest with --partial:"
    )
    return "\n  ".join([head, *lines[:SHOWN], *more])


def _write_manifest(target: RunFolder, parts: Sequence[RunPart]) -> None:
    """run.json of a whole run; first, so that a merge that is stopped leaves a run that is not finished."""
    if target.manifest.exists():
        return
    info: dict[str, Any] = {name: value for name, value in parts[0].info.items() if not name.startswith("shard")}
    info["cells"] = info.pop("cells_of_spec", info["cells"])
    info["created"] = min((str(part.info["created"]) for part in parts if "created" in part.info), default=now())
    for part in parts:
        if "cells_digest" in part.info:  # of one that found all data and models
            info |= {name: part.info[name] for name in ("cells_digest", "planned") if name in part.info}
    write_json(target.manifest, info)


def _copy(todo: dict[str, Path], target: RunFolder, damaged: Collection[Path], progress: MergeProgress) -> None:
    """Each cell is copied next to the others first, then put in place by a rename."""
    staging = target.root / ".merging"
    shutil.rmtree(staging, ignore_errors=True)  # of a merge that was killed
    for done, (key, source) in enumerate(todo.items()):
        progress("copy", done, len(todo))
        place = target.cell(key)
        if target.is_settled(key) and place not in damaged:  # finished there since it was looked at
            check_same(Cell(read_cell(place / "cell.json"), place), Cell(read_cell(source / "cell.json"), source))
            continue
        (staging / key).mkdir(parents=True)
        skipped = read_cell(source / "cell.json").status == "skipped"
        for name in ("cell.json",) if skipped else ("examples.parquet", "steps.parquet", "cell.json"):
            _copy_file(source / name, staging / key / name)
        target.cells.mkdir(exist_ok=True)
        shutil.rmtree(place, ignore_errors=True)  # failed, begun or damaged there
        (staging / key).replace(place)
    progress("copy", len(todo), len(todo))
    shutil.rmtree(staging, ignore_errors=True)


def _copy_file(source: Path, to: Path) -> None:
    shutil.copyfile(source, to)
    with to.open("rb+") as file:
        os.fsync(file.fileno())
