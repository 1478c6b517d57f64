"""Rows shared between processes: the same results, the same errors."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from harness.errors import DataError
from harness.records.read import read_run
from leaderboard import parallel
from leaderboard.parallel import map_in_processes, usable_processes
from leaderboard.site.build import build_site
from leaderboard.standings.standings import standings
from tests.leaderboard.fake_run import FakeCell, write_run


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that counts as large."""
    monkeypatch.setattr(parallel, "MIN_CELLS", 1)
    rounds = [FakeCell(defense="at", round=r, defense_flops=r * 1e13, seed=s) for r in (1, 2, 3) for s in (0, 1)]
    others = [FakeCell(victim=f"tiny(size={n})", attack=attack) for n in range(3) for attack in ("a", "b")]
    return write_run(tmp_path / "run", [*rounds, *others])


@pytest.mark.slow
def test_any_number_of_processes_writes_the_same_site(many: Path, tmp_path: Path) -> None:
    one = build_site([read_run(many)], tmp_path / "one").parent
    two = build_site([read_run(many)], tmp_path / "two", processes=2).parent
    files = [file for file in one.rglob("*") if file.is_file()]
    assert len(files) > 10
    for file in files:
        assert file.read_bytes() == (two / file.relative_to(one)).read_bytes(), file


@pytest.mark.slow
def test_an_error_is_the_same_from_another_process(many: Path) -> None:
    broken = sorted(many.glob("cells/*/steps.parquet"))[-1]
    broken.write_bytes(b"no table")
    with pytest.raises(DataError) as alone:
        standings([read_run(many)])
    with pytest.raises(DataError) as elsewhere:
        standings([read_run(many)], processes=2)
    assert str(broken) in str(alone.value)
    assert str(elsewhere.value) == str(alone.value)


@pytest.mark.slow
def test_what_a_killed_process_leaves_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "MIN_CELLS", 1)
    assert map_in_processes(_killed_elsewhere, range(20), 20, 2) == [(n, os.getpid()) for n in range(20)]


def _killed_elsewhere(number: int) -> tuple[int, int]:
    if multiprocessing.parent_process() is not None:
        os._exit(9)
    return number, os.getpid()


def test_small_runs_start_no_process() -> None:
    assert set(map_in_processes(_process, range(20), parallel.MIN_CELLS - 1, 2)) == {os.getpid()}
    assert usable_processes() >= 1


def _process(_: int) -> int:
    return os.getpid()
