"""Reading a run directory back: manifests at once, Parquet columns when asked for. Needs no torch and no plugin."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from harness.errors import DataError, first_line
from harness.records import VERSION
from harness.records.cell_manifest import CellRecord
from harness.records.planned import PlannedCell, read_planned
from harness.records.schema import ADDED, EXAMPLES, STEPS

_SMALL = frozenset(EXAMPLES.names) - {"answer", "messages", "string_at"}
_REMEMBERED = 4096


@dataclass(frozen=True)
class Cell:
    """A finished cell: its manifest, and its two tables, read from disk at each call.

    Attributes:
        checked: whether its records were held against the rules of submissions before they were read.
    """

    checked: ClassVar[bool] = False
    record: CellRecord
    folder: Path

    def examples(self, columns: Sequence[str] | None = None) -> pa.Table:
        """One row per example, columns of `schema.EXAMPLES` (all, or those named). Raises `DataError`."""
        path = self.folder / "examples.parquet"
        if columns is not None and _SMALL.issuperset(columns):
            with suppress(DataError, OSError):  # of a damaged file that which is asked for may still be whole
                return _small_examples(path, path.stat().st_mtime_ns).select(list(columns))
        return _parquet(path, EXAMPLES, columns)

    def steps(self, columns: Sequence[str] | None = None) -> pa.Table:
        """One row per attacked example and step, columns of `schema.STEPS` (all, or some). Raises `DataError`."""
        return _parquet(self.folder / "steps.parquet", STEPS, columns)


@dataclass(frozen=True)
class Run:
    """A run directory.

    Attributes:
        path: the directory.
        info: the contents of ``run.json``: format, spec_name, spec_version, spec_hash, spec (text), harness_version,
            created.
        cells: cells that are done, by key.
        failed: manifests of cells that raised.
        unfinished: how many cells were begun and have no manifest yet.
        skipped: manifests of cells in which there is nothing to measure: a round that a defense's budget did not allow.
        planned: all cells of the spec; none where ``run.json`` lists none, as in older runs and in submissions, which
            are whole.
    """

    path: Path
    info: dict[str, Any]
    cells: tuple[Cell, ...]
    failed: tuple[CellRecord, ...]
    unfinished: int
    skipped: tuple[CellRecord, ...] = ()
    planned: tuple[PlannedCell, ...] = ()

    def __iter__(self) -> Iterator[Cell]:
        return iter(self.cells)

    @property
    def missing(self) -> int:
        """How many cells of the spec have no numbers: failed, begun or not yet begun."""
        total = len(self.planned) or self.info.get("cells_of_spec", self.info.get("cells"))
        here = len(self.cells) + len(self.skipped)
        return max(total - here, 0) if isinstance(total, int) else len(self.failed) + self.unfinished


def is_run(path: str | Path) -> bool:
    """Whether ``path`` looks like a run directory."""
    return (Path(path) / "run.json").is_file()


def read_run(path: str | Path) -> Run:
    """The run in directory ``path``. Raises `DataError` for a file that is missing, corrupt or of another version."""
    path = Path(path)
    if not path.is_dir():
        raise DataError(f"{path}: no such run directory. Give the folder that `harness run` wrote.")
    if not is_run(path):
        raise DataError(f"{path}: not a run directory, run.json is missing. Give the folder that `harness run` wrote.")
    info = _manifest(path / "run.json")
    cells: list[Cell] = []
    failed: list[CellRecord] = []
    skipped: list[CellRecord] = []
    unfinished = 0
    root = path / "cells"
    # Dot folders are writes in progress.
    folders = sorted(f for f in root.iterdir() if f.is_dir() and not f.name.startswith(".")) if root.is_dir() else []
    for folder in folders:
        if not (folder / "cell.json").is_file():
            unfinished += 1
            continue
        record = read_cell(folder / "cell.json")
        if record.status == "failed":
            failed.append(record)
        elif record.status == "skipped":
            skipped.append(record)
        else:
            cells.append(Cell(record, folder))
    planned = read_planned(info.pop("planned", None), path / "run.json")
    return Run(path, info, tuple(cells), tuple(failed), unfinished, tuple(skipped), planned)


def read_cell(path: Path) -> CellRecord:
    """The manifest in the file ``path``. Raises `DataError` where it is missing, damaged or of another version."""
    data = _manifest(path)
    try:
        return CellRecord.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise DataError(f"{path}: {field}: {first['msg']}. {_mend(path)}") from None


def _manifest(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: also a number of thousands of digits
        raise DataError(f"{path}: cannot be read as JSON ({first_line(error)}). {_mend(path)}") from None
    if not isinstance(data, dict):
        raise DataError(f"{path}: holds {type(data).__name__}, not an object. {_mend(path)}")
    version = data.get("format")
    if version != VERSION or isinstance(version, bool):
        raise DataError(
            f"{path}: record format {version!r}, this version reads format {VERSION}. "
            "Use the version of the harness that wrote it, or run the spec again in a new directory."
        )
    return data


@lru_cache(maxsize=_REMEMBERED)
def _small_examples(path: Path, _written: int) -> pa.Table:
    """The columns without long texts, which each part of a leaderboard asks for again; opening a file takes longest."""
    return _parquet(path, EXAMPLES, [name for name in EXAMPLES.names if name in _SMALL])


def _parquet(path: Path, schema: pa.Schema, columns: Sequence[str] | None) -> pa.Table:
    wanted = list(schema.names) if columns is None else list(columns)
    if not path.is_file():
        raise DataError(f"{path}: missing. {_mend(path)}")
    try:
        with pq.ParquetFile(path) as file:
            found = file.schema_arrow
            lacking = [name for name in wanted if name in ADDED and found.get_field_index(name) < 0]
            for name in wanted:
                at = found.get_field_index(name)
                if at < 0 and name in lacking:
                    continue
                if at < 0:
                    raise DataError(f"{path}: has no column {name!r}. {_mend(path)}")
                type_, expected = found.field(at).type, schema.field(name).type
                if type_ != expected:
                    raise DataError(f"{path}: column {name!r} is {type_}, not {expected}. {_mend(path)}")
            known = [name for name in wanted if name not in lacking]
            table = file.read(columns=known, use_threads=False)  # the files are small: threads cost more than they save
            for name in lacking:
                table = table.append_column(name, pa.nulls(table.num_rows, schema.field(name).type))
            return table.select(wanted)
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError, LookupError, TypeError) as error:
        # Damage shows in many ways: names that are no text, sizes that no memory holds, places beyond the file.
        raise DataError(f"{path}: cannot be read as Parquet ({first_line(error)}). {_mend(path)}") from None


def _mend(path: Path) -> str:
    if path.name == "run.json":
        return "Restore the file, or run the spec again in a new directory."
    return (
        f"Restore the file, or remove the folder {path.parent.name} and run the spec again: only this cell is redone."
    )
