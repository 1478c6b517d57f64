"""A finished run as one file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.errors import DataError
from harness.records.cell import CellRecord
from harness.records.read import Cell, Run, read_run
from leaderboard.submission.file_format.container import CELLS, MANIFEST, SPEC, TABLE, write_container
from leaderboard.submission.file_format.limits import FORMAT
from leaderboard.submission.file_format.manifest import RunInfo
from leaderboard.submission.file_format.table import joined, to_parquet


def default_name(run: Run) -> str:
    """The name of the file, where none is given."""
    return f"{run.info['spec_name']}-{run.info['spec_version']}.submission.zip"


def finished_run(path: Path) -> Run:
    """A run of which every cell is done. Raises DataError where one is missing or was skipped, or there is none."""
    run = read_run(path)
    if run.info.get("shard"):
        raise DataError(f"{path}: a shard, which is a part of a run. Merge it with the others first: `harness merge`.")
    if run.skipped:
        raise DataError(
            f"{path}: {len(run.skipped)} cells were skipped: they are beyond a defense's budget. A submission has "
            "measured cells alone: name in the spec only rounds that the budget allows, and run that."
        )
    missing = int(run.info.get("cells", len(run.cells))) - len(run.cells)
    if missing or run.failed or run.unfinished or not run.cells:
        raise DataError(
            f"{path}: {len(run.cells)} cells are done, {len(run.failed)} failed, {max(missing, run.unfinished)} are "
            f"missing in all. Finish the run with `harness run`, or exclude in its spec what cannot be run; "
            f"`harness status {path}` says which."
        )
    return run


def write_submission(run: Run, out: Path, seen: Callable[[int], None] = lambda _: None) -> None:
    """Write the submission of a run; the same run gives the same bytes under one version of pyarrow.

    Args:
        seen: told how many cells have been read.
    """
    cells = in_order(run)

    def tables() -> Any:
        for at, cell in enumerate(cells, start=1):
            yield joined(cell.record.key, cell.examples(), cell.steps())
            seen(at)

    table = to_parquet(tables())
    parts = {
        CELLS: pretty([record_json(cell.record) for cell in cells]),
        SPEC: str(run.info.get("spec", "")).encode(),
        TABLE: table,
    }
    rows = sum(len(cell.examples(["example"])) + len(cell.steps(["example"])) for cell in cells)
    manifest = {
        "format": FORMAT,
        "what": "robustness-harness submission",
        "run": run_info(run),
        "rows": rows,
        "parts": {name: part_json(content) for name, content in parts.items()},
    }
    write_container(out, parts | {MANIFEST: pretty(manifest)})


def in_order(run: Run) -> list[Cell]:
    """The cells, those that stand in one row of a table together, so that they are read together."""

    def place(cell: Cell) -> tuple[Any, ...]:
        record = cell.record
        round_ = record.defense_facts.round if record.defense_facts else None
        where = (record.task.label, record.threat_label, record.victim.label, record.defense.label, round_ or 0)
        return (*where, record.attack.label, record.seed, record.key)

    return sorted(run.cells, key=place)


def run_info(run: Run) -> dict[str, Any]:
    """Of ``run.json``, what a submission keeps. Raises DataError where a field is missing."""
    lacking = [name for name in RunInfo.model_fields if name not in run.info and name != "cells"]
    if lacking:
        raise DataError(f"{run.path / 'run.json'}: {lacking[0]} is missing. Restore the file.")
    return {name: run.info[name] for name in RunInfo.model_fields if name != "cells"} | {"cells": len(run.cells)}


def record_json(record: CellRecord) -> dict[str, Any]:
    """A cell's manifest as JSON data."""
    return record.model_dump(mode="json")


def part_json(content: bytes) -> dict[str, Any]:
    """Size and hash."""
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def pretty(data: Any) -> bytes:
    """JSON to be read and compared line by line: sorted, indented, never NaN."""
    return (json.dumps(data, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n").encode()
