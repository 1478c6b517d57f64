"""`harness tune` as a command: its extra, what it loads, how it is stopped, what it says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from harness.run.tuning.bench import TuningBench
from tests.cli.test_plugins import imported
from tests.run.runs import FAST, FROM_FILES, harness_here

SPEC = FAST.replace("hill_climb: {steps: 3}", "hill_climb: {steps: 8}")
COMMAND = ("tune", "hill_climb", "spec.yaml", "--flops", "40MFLOP", *FROM_FILES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "spec.yaml").write_text(SPEC)
    return tmp_path


def test_without_optuna_the_error_says_how_to_install_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "optuna" else find(name, *rest)
    )
    done = harness_here(*COMMAND, cwd=folder)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: `harness tune` searches with Optuna, which is not installed here: "
        "pip install 'robustness-harness[tune]'"
    ]
    assert not (folder / "runs").exists()


@pytest.mark.slow
def test_optuna_is_loaded_by_the_search_alone(folder: Path) -> None:
    for words in (["--help"], ["plugins"], ["tune", "gcg", "quickstart", "--flops", "1e15", "--dry-run"]):
        assert not imported(*words) & {"optuna", "torch"}, words


def test_ctrl_c_is_one_sentence_and_the_same_command_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, asked = TuningBench.run, []

    def interrupted(self: TuningBench, *arguments: Any) -> Any:
        asked.append(arguments)
        if len(asked) == 4:  # the second half of the second candidate
            raise KeyboardInterrupt
        return run(self, *arguments)

    monkeypatch.setattr(TuningBench, "run", interrupted)
    done = harness_here(*COMMAND, "--quiet", cwd=folder)
    assert done.returncode == 130
    assert done.stderr == "Stopped. Run the same command again to continue from here: runs/fast/tuning\n"
    (journal,) = (folder / "runs/fast/tuning").glob("hill_climb-*.jsonl")
    assert len(journal.read_text().splitlines()) == 2, "what it is of, and the first candidate"
    monkeypatch.setattr(TuningBench, "run", run)
    again = harness_here(*COMMAND, cwd=folder)
    assert again.returncode == 0, again.stderr
    assert "candidate 0:" not in again.stderr, "it is not tried again"
    assert "candidate 1:" in again.stderr


def test_what_it_costs_is_said_before_and_what_came_of_it_after(folder: Path) -> None:
    done = harness_here(*COMMAND, cwd=folder)
    lines = done.stderr.splitlines()
    assert lines[0] == "hill_climb on 1 cell, 6 training examples each, at 1.07 MFLOP per example:"
    assert "are enough for at least" in lines[2]
    assert any(line.startswith("done    candidate 0: tries=8 (8 steps, ") for line in lines)
    assert any(line.startswith("Tried ") and "training examples for" in line for line in lines)
    assert lines[-1].startswith("Expect less of the best on other examples")
    assert done.stdout.startswith("attacks:\n- hill_climb: {steps: ")
