"""Clean examples that a run judged again does not count: noted, since nothing tells them from those left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.records.read import read_run
from harness.replay.by_spec.expected_cells import fewer_clean_examples
from tests.leaderboard.fake_run import FakeCell, write_run

LISTED = FakeCell(task="behaviors", task_kind="text", examples=6, wrong=0)


def notes(tmp_path: Path, wanted: int, sizes: dict[str, int]) -> list[str]:
    cells = [LISTED, replace(LISTED, seed=1), replace(LISTED, seed=2, more={"n_clean": 24})]
    records = [cell.record for cell in read_run(write_run(tmp_path / "run", cells))]
    return list(fewer_clean_examples(wanted, records, sizes))


def test_cells_that_count_the_listed_prompts_alone_are_noted(tmp_path: Path) -> None:
    (note,) = notes(tmp_path, 24, {"behaviors": 100})
    assert "2 cells have a clean share over the listed prompts only (6 of 24)" in note


def test_a_task_that_has_no_more_is_no_matter(tmp_path: Path) -> None:
    assert notes(tmp_path, 24, {"behaviors": 6}) == []


def test_where_it_is_not_known_whether_there_are_more(tmp_path: Path) -> None:
    (note,) = notes(tmp_path, 24, {})
    assert "6 clean examples of 24 in the spec; whether there are more is unknown here" in note
