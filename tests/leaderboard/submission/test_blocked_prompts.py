"""A clean prompt without an answer that was attacked: honest of a harmful one behind a guard, and of no other."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from harness.records.cell_manifest import DefenseFacts
from harness.records.read import read_run
from leaderboard.submission.file_format.records_file import RecordsFile
from leaderboard.submission.file_format.records_table import SCHEMA, to_parquet
from leaderboard.submission.verification.checks.clean_examples import clean_problems
from leaderboard.submission.verification.submitted_rows import rows_of_cells
from tests.leaderboard.fake_run import FakeCell, write_run


@pytest.mark.parametrize(
    ("sort", "benign", "state", "honest"),
    [
        ("guard", False, None, True),
        ("guard", True, None, False),
        ("transform", False, None, False),
        (None, False, None, False),
        ("guard", False, "empty", False),
    ],
)
def test_only_a_guard_blocks(sort: str | None, benign: bool, state: str | None, honest: bool, tmp_path: Path) -> None:
    cell = FakeCell(task_kind="text", examples=1, wrong=0, benign=benign)
    record = read_run(write_run(tmp_path / "run", [cell])).cells[0].record
    if sort is not None:
        part = {"defense": record.defense.model_dump(), "sort": sort, "offers": "victim"}
        record = record.model_copy(update={"defense_facts": DefenseFacts.model_validate({"parts": [part]})})
    row = {"cell": "a", "example": "e", "step": 0, "attacked": True, "answer_state": state}
    content = to_parquet([pa.Table.from_pylist([row], SCHEMA)], drawn=False)
    ((_, rows),) = rows_of_cells(RecordsFile(pa.py_buffer(content), "made up"))
    found = [problem for problem in clean_problems(record, rows) if "although nothing was answered" in problem]
    assert bool(found) is not honest
