"""A wall clock that jumps in the middle of a run: no record depends on it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.run.runs import FAST, FROM_FILES, Started, harness_here, records

pytestmark = pytest.mark.slow


def test_a_clock_that_jumps_back_and_forth_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None:
        pytest.skip("needs libfaketime, which moves the clock of a process (Debian: faketime)")
    (tmp_path / "spec.yaml").write_text(FAST + "seeds: [0, 1, 2]\n")
    assert harness_here("run", "spec.yaml", "--out", "still", "--quiet", *FROM_FILES, cwd=tmp_path).returncode == 0

    clock = tmp_path / "clock"
    clock.write_text("+0")
    for name, value in {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",  # seconds: to read the file at every call takes most of the time
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }.items():
        monkeypatch.setenv(name, value)
    assert os.environ["LD_PRELOAD"]
    run = Started("run", "spec.yaml", "--out", "jumping", "--jobs", "0", *FROM_FILES, cwd=tmp_path)
    monkeypatch.undo()
    for words, jump in (("prepare ", "-2d"), ("attack ", "+3d"), ("hill_climb", "-1d")):
        assert run.wait_for(words), run.stderr
        clock.write_text(jump)
    assert run.end() == 0, run.stderr
    assert records(tmp_path / "jumping") == records(tmp_path / "still")
