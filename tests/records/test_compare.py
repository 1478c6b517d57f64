"""What two records of one cell may differ in."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from harness.records.compare import MACHINE_FIELDS, VOLATILE, difference
from harness.records.read import Cell, read_cell
from harness.records.write import write_cell
from tests.leaderboard.fake_run import FakeCell, write_run
from tests.records.rows import step_row

STEP = {"example": "a", "step": 1, "success": False, "loss": 1.0, "attack_nominal": 5.0, "seconds": 0.1}
EXAMPLE = {"example": "a", "label": 1, "predicted": 1, "attacked": True}


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    made = FakeCell()
    return read_one(write_run(tmp_path / "run", [made]) / "cells" / made.key)


def read_one(folder: Path) -> Cell:
    return Cell(read_cell(folder / "cell.json"), folder)


def with_steps(cell: Cell, folder: Path, *steps: dict[str, Any], **fields: Any) -> Cell:
    rows = [step_row(**(STEP | own)) for own in steps]
    write_cell(folder, cell.record.model_copy(update=fields), [EXAMPLE], rows)
    return read_one(folder)


def test_when_and_where_do_not_count(cell: Cell, tmp_path: Path) -> None:
    one = with_steps(cell, tmp_path / "1", {"seconds": 1.0}, seconds=1.0, started="a", versions={"torch": "1"})
    other = with_steps(cell, tmp_path / "2", {"seconds": 2.0}, host={"cpus": 1}, agreement={"device": "cuda"})
    assert difference(one, other) is None
    known = with_steps(cell, tmp_path / "3", {}, judge_calibration={"true_positive": 3})
    assert difference(one, known) is None, "a calibration may be named later"
    assert {"started", "seconds", "host", "versions"} == VOLATILE
    assert not VOLATILE & MACHINE_FIELDS


@pytest.mark.parametrize("value", [math.nan, math.inf, None, 0.1 + 0.2])
def test_odd_values_are_themselves(cell: Cell, tmp_path: Path, value: float | None) -> None:
    same = [with_steps(cell, tmp_path / name, {"loss": value}) for name in "12"]
    assert difference(*same) is None
    other = with_steps(cell, tmp_path / "3", {"loss": 0.3})
    assert difference(same[0], other) == "steps.parquet: column loss"


def test_nothing_is_not_a_number_that_is_none(cell: Cell, tmp_path: Path) -> None:
    one, other = (with_steps(cell, tmp_path / str(value), {"loss": value}) for value in (math.nan, None))
    assert difference(one, other) == "steps.parquet: column loss"


def test_the_first_thing_that_differs_is_named(cell: Cell, tmp_path: Path) -> None:
    one = with_steps(cell, tmp_path / "1", {})
    assert difference(one, with_steps(cell, tmp_path / "2", {"success": True})) == "steps.parquet: column success"
    assert difference(one, with_steps(cell, tmp_path / "3", {}, {"step": 2})) == "steps.parquet: 1 and 2 rows"
    assert difference(one, with_steps(cell, tmp_path / "4", {}, n_clean=7)) == "cell.json: n_clean"
