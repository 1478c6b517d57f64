"""A small valid submission, and ways to forge it: parts changed, and every hash made to fit again."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from harness.records.answer_state import NO_ANSWER
from harness.records.cell_manifest import CellRecord
from harness.records.step_row import NAMES, StepRow
from harness.run.cell.diagnostics import worst_case
from leaderboard.submission.file_format.container import CELLS, MANIFEST, MEMBERS, RECORDS, SPEC, write_container
from leaderboard.submission.file_format.records_file import RecordsFile
from leaderboard.submission.file_format.records_table import SCHEMA, to_parquet
from tests.run.runs import FAST, FROM_FILES, harness_here

Parts = dict[str, bytes]


def pack_fast(folder: Path) -> Path:
    """A run of two cells without torch, and its submission."""
    (folder / "fast.yaml").write_text(FAST, encoding="utf-8")
    done = harness_here(*FROM_FILES, "run", "fast.yaml", "--out", "run", "--quiet", cwd=folder)
    assert done.returncode == 0, done.stderr
    packed = harness_here("leaderboard", "pack", "run", "--out", "fast.zip", cwd=folder)
    assert packed.returncode == 0, packed.stderr
    return folder / "fast.zip"


def parts_of(path: Path) -> Parts:
    """The members."""
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in MEMBERS}


def forged(parts: Parts, out: Path, **manifest: Any) -> Path:
    """A submission of these parts with the hashes that go with them, and some fields of its manifest replaced."""
    told = json.loads(parts[MANIFEST])
    told["parts"] = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in parts.items()
        if name != MANIFEST
    }
    write_container(out, parts | {MANIFEST: json.dumps(told | manifest).encode()})
    return out


def with_cells(parts: Parts, change: Callable[[list[dict[str, Any]]], Any]) -> Parts:
    """The manifests of the cells changed in place."""
    cells = json.loads(parts[CELLS])
    change(cells)
    return parts | {CELLS: json.dumps(cells).encode()}


def table_of(parts: Parts) -> pa.Table:
    """The whole table."""
    file = RecordsFile(pa.py_buffer(parts[RECORDS]), "valid")
    return file.slice(0, sum(file.rows), SCHEMA.names)


def with_rows(parts: Parts, change: Callable[[list[dict[str, Any]]], Any]) -> Parts:
    """The rows of the table changed in place, or replaced by what ``change`` gives; the manifests count them."""
    rows = table_of(parts).to_pylist()
    rows = change(rows) or rows
    asked: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["step"] and row["failure"] is None:
            asked.setdefault(row["cell"], []).append(row)

    def counted(cells: list[dict[str, Any]]) -> None:
        for cell in cells:
            of_cell = asked.get(cell["key"], [])
            cell["n_asked"] = len(of_cell)
            cell["n_missing"] = sum(row["answer_state"] in NO_ANSWER for row in of_cell)
            cell["n_unparseable"] = sum(bool(row["unparseable"]) for row in of_cell)

    return with_table(
        with_cells(parts, counted), to_parquet([pa.Table.from_pylist(rows, SCHEMA)], drawn=True), len(rows)
    )


def diagnosed(parts: Parts) -> Parts:
    """The same with the worst case of diagnostics that follows from the rows, as a consistent liar has it."""
    steps: dict[str, list[StepRow]] = {}
    for row in table_of(parts).to_pylist():
        if row["step"]:
            steps.setdefault(row["cell"], []).append(
                StepRow.from_record({name: row[name] for name in NAMES if name in row})
            )

    def change(cells: list[dict[str, Any]]) -> None:
        for cell in cells:
            rows, accuracy = steps.get(cell["key"], []), CellRecord.model_validate(cell).clean_accuracy
            found = worst_case(rows, accuracy, len({row.example for row in rows}))
            cell["defense_facts"]["diagnostics"]["worst_case"] = found

    return with_cells(parts, change)


def with_table(parts: Parts, content: bytes, rows: int) -> Parts:
    """Another table."""
    told = json.loads(parts[MANIFEST]) | {"rows": rows}
    return parts | {RECORDS: content, MANIFEST: json.dumps(told).encode()}


def with_spec(parts: Parts, text: str) -> Parts:
    """Another text of the spec."""
    return parts | {SPEC: text.encode()}
