"""The run directories that are to be merged: whether they belong together, and which cells they hold between them.

Cells are read one at a time. A finished cell never changes and counts only when it is whole, so that a run may be read
while it goes on.
"""

from __future__ import annotations

import filecmp
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import DataError, RunError
from harness.records import VERSION
from harness.records.cell_manifest import CellRecord
from harness.records.compare import difference
from harness.records.read import Cell, read_cell
from harness.run.run_folder import RunFolder
from harness.run.shards import Shard

MergeProgress = Callable[[str, int, int], None]
"""Told what is being done, and for how many cells of how many."""


@dataclass(frozen=True)
class RunPart:
    """A run directory that is to be merged: a shard or a whole run, finished or not."""

    folder: RunFolder
    info: dict[str, Any]
    shard: Shard | None

    @classmethod
    def read(cls, root: Path) -> RunPart:
        """Its manifest.

        Raises:
            RunError: there is none, or it is damaged or of another version.
        """
        folder = RunFolder(root)
        info = folder.read_manifest()
        if info.get("format") != VERSION:
            raise RunError(
                f"{folder.manifest}: record format {info.get('format')!r}, this version reads format {VERSION}; use "
                "the version of the harness that wrote it"
            )
        part = cls(folder, info, folder.shard(info))
        for name in ("cells", "cells_of_spec") if part.shard else ("cells",):
            if type(info.get(name)) is not int:
                raise RunError(
                    f"{folder.manifest}: damaged ({name} is not a number); restore it, or leave this run out"
                )
        return part

    @property
    def of_spec(self) -> int:
        """How many cells the spec has."""
        return int(self.info["cells_of_spec"] if self.shard else self.info["cells"])

    def cells(self) -> list[Path]:
        """Folders of its cells; those with a dot are writes in progress."""
        root = self.folder.cells
        return sorted(f for f in root.iterdir() if f.is_dir() and f.name[0] != ".") if root.is_dir() else []


@dataclass
class CellsFound:
    """The cells of several run directories.

    Attributes:
        finished: the folder of each cell that is done or skipped, by key.
        failed: manifest of each cell that failed and is finished nowhere, and its folder, by key.
        begun: folders of cells that were begun and are finished nowhere, by key.
        damaged: what is wrong with each folder that cannot be read.
        missing: of each part, how many cells have no folder.
    """

    finished: dict[str, Path] = field(default_factory=dict)
    failed: dict[str, tuple[CellRecord, Path]] = field(default_factory=dict)
    begun: dict[str, Path] = field(default_factory=dict)
    damaged: dict[Path, str] = field(default_factory=dict)
    missing: dict[Path, int] = field(default_factory=dict)


def read_parts(roots: Sequence[Path]) -> list[RunPart]:
    """The runs in these directories, each once, when they can be merged.

    Raises:
        RunError: one is no run, they are of different specs, or they were cut from different states of the data.
    """
    parts = [RunPart.read(root) for root in {root.resolve(): root for root in roots}.values()]
    first = next((part for part in parts if "cells_digest" in part.info), parts[0])  # older runs do not tell
    for part in parts:
        check_alike(first, part)
    shards = [part for part in parts if part.shard]
    for part in shards[1:]:
        if part.shard and shards[0].shard and part.shard.of != shards[0].shard.of:
            raise RunError(
                f"{part.folder.root} is {part.shard}, {shards[0].folder.root} is {shards[0].shard}: two different "
                "splits; merge only the shards of one split (or first with --partial, then the others into the same "
                "--out)"
            )
    return parts


def check_alike(one: RunPart, other: RunPart) -> None:
    """Check that two runs are of one spec and found the same data and models.

    Raises:
        RunError: they are not.
    """
    left, right = one.info, other.info
    if left["spec_hash"] != right["spec_hash"]:
        raise RunError(
            f"{other.folder.root}: a run of spec {right['spec_name']} {right['spec_version']} (hash "
            f"{right['spec_hash'][:12]}), but {one.folder.root} is of {left['spec_name']} {left['spec_version']} (hash "
            f"{left['spec_hash'][:12]}); merge only runs of one spec"
        )
    known = [part.info.get("cells_digest") for part in (one, other)]
    if one.of_spec != other.of_spec or (None not in known and known[0] != known[1]):
        raise RunError(
            f"{other.folder.root}: found other data, models or plugins than {one.folder.root} did, so their cells "
            "do not belong together; put the same in place on every machine, and run that part again in a new folder"
        )


def read_cells(parts: Sequence[RunPart], progress: MergeProgress = lambda what, done, total: None) -> CellsFound:
    """Read all cells of these runs and check them: manifests and tables can be read, and a cell that is in two of them
    says the same.

    Raises:
        RunError: a cell is in two of them with different results.
    """
    found = CellsFound()
    folders = [(part, path) for part in parts for path in part.cells()]
    for done, (part, path) in enumerate(folders):
        progress("read", done, len(folders))
        _add_cell(part, path, found)
    progress("read", len(folders), len(folders))
    for part in parts:
        found.missing[part.folder.root] = max(0, int(part.info["cells"]) - len(part.cells()))
    for key in found.finished:
        found.failed.pop(key, None)
        found.begun.pop(key, None)
    return found


def _add_cell(part: RunPart, path: Path, found: CellsFound) -> None:
    if path.name in found.finished and _same_bytes(found.finished[path.name], path):
        return
    if not (path / "cell.json").is_file():
        found.begun[path.name] = path
        return
    try:
        cell = _read_whole(part, path)
    except DataError as error:
        found.damaged[path] = str(error)
        return
    key = cell.record.key
    if cell.record.status == "failed":
        found.failed[key] = cell.record, path
    elif key not in found.finished:
        found.finished[key] = path
    else:
        check_same(Cell(read_cell(found.finished[key] / "cell.json"), found.finished[key]), cell)


def _same_bytes(one: Path, other: Path) -> bool:
    """Whether two folders of a cell hold the same files: a copy need not be read again."""
    names = ("cell.json", "examples.parquet", "steps.parquet")
    same, _, _ = filecmp.cmpfiles(one, other, names, shallow=False)
    there = [name for name in names if (one / name).exists() or (other / name).exists()]
    return same == there


def _read_whole(part: RunPart, path: Path) -> Cell:
    """A cell of a run, all of which can be read. Raises DataError."""
    cell = Cell(read_cell(path / "cell.json"), path)
    for name, value, should in (
        ("key", cell.record.key, path.name),
        ("spec_hash", cell.record.spec_hash, part.info["spec_hash"]),
    ):
        if value != should:
            raise DataError(f"{path / 'cell.json'}: {name} is {value}, not {should}. Remove the folder {path.name}.")
    if cell.record.status == "done":
        attacked = sum(cell.examples(["attacked"])["attacked"].to_pylist())
        if attacked != cell.record.n_attacked:
            raise DataError(
                f"{path / 'examples.parquet'}: {attacked} attacked examples, cell.json says {cell.record.n_attacked}. "
                f"Remove the folder {path.name} and run the spec again: only this cell is redone."
            )
        cell.steps()
    return cell


def check_same(one: Cell, other: Cell) -> None:
    """Check that a cell has the same results in two folders.

    Raises:
        RunError: it has not.
    """
    what = difference(one, other)
    if what:
        raise RunError(
            f"{one.folder} and {other.folder}: the same cell with different results ({what}); keep the one you trust, "
            "and remove the other folder"
        )
