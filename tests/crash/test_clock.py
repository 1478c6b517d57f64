"""A wall clock that jumps in the middle of a run: no record depends on it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.run.runs import TRAINED, Started, harness_here, one_seed, records, weights

pytestmark = pytest.mark.slow


def test_a_clock_that_jumps_back_and_forth_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None:
        pytest.skip("needs libfaketime, which moves the clock of a process (Debian: faketime)")
    (tmp_path / "spec.yaml").write_text(one_seed(TRAINED))
    assert harness_here("run", "spec.yaml", "--out", "still", "--quiet", cwd=tmp_path).returncode == 0

    clock = tmp_path / "clock"
    clock.write_text("+0")
    for name, value in {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }.items():
        monkeypatch.setenv(name, value)
    assert os.environ["LD_PRELOAD"]
    run = Started("run", "spec.yaml", "--out", "jumping", cwd=tmp_path)
    monkeypatch.undo()
    for words, jump in (("prepare ", "-2d"), ("attack ", "+3d"), ("adversarial_training round 2", "-1d")):
        assert run.wait_for(words), run.stderr
        clock.write_text(jump)
    assert run.end() == 0, run.stderr
    assert records(tmp_path / "jumping") == records(tmp_path / "still")
    assert weights(tmp_path / "jumping") == weights(tmp_path / "still")
