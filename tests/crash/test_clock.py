"""A wall clock that jumps in the middle of a run: no record depends on it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.run.runs import Started, harness_here, records, weights

pytestmark = pytest.mark.slow
SPEC = """
name: clock
version: "1"
tasks: [{word_length: {instructions: "Which word is longer?", syllables: open, train_size: 300, validation_size: 64}}]
victims: [{tiny: {size: 7k, steps: 12, batch_size: 16}}]
defenses:
  - none
  - adversarial_training:
      rounds: 2
      attacked_per_round: 6
      examples_per_round: 24
      strength: {start: 2, end: 3, rounds: 2}
      attack: {gcg: {candidates: 8, topk: 8}}
attacks: [{gcg: {steps: 3, candidates: 8, topk: 8}}]
threats: [{tokens: 5}]
examples: 6
clean_examples: 16
"""


def test_a_clock_that_jumps_back_and_forth_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None:
        pytest.skip("needs libfaketime, which moves the clock of a process (Debian: faketime)")
    (tmp_path / "spec.yaml").write_text(SPEC)
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
