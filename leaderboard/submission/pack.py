"""A finished run as one file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from harness.errors import DataError
from harness.records.read import Cell, Run, read_run
from harness.records.visible_text import file_name
from leaderboard.data.record_facts import defense_round
from leaderboard.submission.file_format.container import CELLS, MANIFEST, RECORDS, SPEC, write_container
from leaderboard.submission.file_format.limits import FORMAT
from leaderboard.submission.file_format.manifest import RunInfo, file_digest
from leaderboard.submission.file_format.records_table import cell_rows, to_parquet
from leaderboard.table_numbers import counted


def default_name(run: Run) -> str:
    """The name of the file, where none is given."""
    return f"{file_name(str(run.info['spec_name']))}-{run.info['spec_version']}.submission.zip"


def finished_run(path: Path) -> Run:
    """A run of which every cell is done. Raises DataError where one is missing or was skipped, or there is none."""
    run = read_run(path)
    if run.info.get("shard"):
        raise DataError(f"{path}: this is a shard, a part of a run. Merge it with the others first: `harness merge`.")
    if run.skipped:
        raise DataError(
            f"{path}: {counted(len(run.skipped), 'cell')} skipped, beyond a defense's budget. A submission has "
            "only measured cells: name in the spec only rounds that the budget allows, and run that."
        )
    missing = int(run.info.get("cells", len(run.cells))) - len(run.cells)
    if missing or run.failed or run.unfinished or not run.cells:
        raise DataError(
            f"{path}: {counted(len(run.cells), 'cell')} done, {len(run.failed)} failed, {max(missing, run.unfinished)} "
            f"missing in all. Finish the run with `harness run`, or exclude in its spec what cannot be run; "
            f"`harness status {path}` says which."
        )
    return run


def write_submission(
    run: Run,
    out: Path,
    progress: Callable[[int], None] = lambda _done: None,
    claims: Mapping[str, str | int | None] | None = None,
) -> None:
    """Write the submission of a run; the same run gives the same bytes under one version of pyarrow.

    Args:
        progress: told how many cells have been read.
        claims: who submits, where to read more, and what is declared: ``by``, ``paper``, ``link``, ``tries``,
            ``registered``.
    """
    # Cells that stand in one row of a table together, so that they are read together.
    cells = sorted(run.cells, key=_table_order)

    def rows_of_cells() -> Iterator[pa.Table]:
        for done, cell in enumerate(cells, start=1):
            yield cell_rows(cell.record.key, cell.examples(), cell.steps())
            progress(done)

    contents = {
        CELLS: readable_json([cell.record.model_dump(mode="json") for cell in cells]),
        SPEC: str(run.info.get("spec", "")).encode(),
        RECORDS: to_parquet(rows_of_cells(), drawn=any(cell.record.samples for cell in cells)),
    }
    manifest = {
        "format": FORMAT,
        "what": "robustness-harness submission",
        "run": run_info(run) | {name: text for name, text in (claims or {}).items() if text},
        "rows": sum(len(cell.examples(["example"])) + len(cell.steps(["example"])) for cell in cells),
        "parts": {name: file_digest(content).model_dump() for name, content in contents.items()},
    }
    write_container(out, contents | {MANIFEST: readable_json(manifest)})


def _table_order(cell: Cell) -> tuple[Any, ...]:
    record = cell.record
    row = (record.task.label, record.threat_label, record.victim.label, record.defense.label, defense_round(record))
    return (*row, record.attack.label, record.seed, record.key)


def run_info(run: Run) -> dict[str, Any]:
    """Of ``run.json``, what a submission keeps. Raises DataError where a field is missing."""
    names = [name for name in RunInfo.model_fields if name != "cells" and name in run.info]
    required = [name for name, field in RunInfo.model_fields.items() if name != "cells" and field.is_required()]
    missing = [name for name in required if name not in run.info]
    if missing:
        raise DataError(f"{run.path / 'run.json'}: {missing[0]} is missing. Restore the file.")
    return {name: run.info[name] for name in names} | {"cells": len(run.cells)}


def readable_json(data: Any) -> bytes:
    """JSON to be read and compared line by line: sorted, indented, never NaN."""
    return (json.dumps(data, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n").encode()
