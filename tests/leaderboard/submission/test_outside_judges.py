"""Honest runs with judges and votes of other people: run, or judged again, then packed, verified and replayed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.records.read import read_run
from harness.scaffold.write import write_package
from leaderboard.submission.verification.inspection import inspect_submission
from tests.leaderboard.submission.forge import Parts, forged, with_rows
from tests.run.runs import FAST, FROM_FILES, harness_here

PLUGINS = '''
from harness import Judge, Verdict, VoteDefense, hookimpl


class WordsKept(Judge):
    """Wrong, in a prompt that has a certain word."""

    name = "words_kept"

    def success(self, example, answer):
        return answer.label != example.label and "snow" in example.text


class Unsure(Judge):
    """The wanted label has some probability, whatever the victim says."""

    name = "unsure"

    def success(self, example, answer):
        return answer.loss < 1.2


class Echo(VoteDefense):
    """Copies that lose words at random."""

    name = "echo"

    def copies(self):
        return 3

    def copy(self, case):
        yield from ()
        words = case.text.split(" ")
        return " ".join(word for word in words if case.rng.random() < 0.4) or case.text


@hookimpl
def harness_register_judges(register):
    register(WordsKept)
    register(Unsure)


@hookimpl
def harness_register_defenses(register):
    register(Echo)
'''


@pytest.fixture
def plugins(tmp_path: Path) -> list[str]:
    """The options that load these plugins, the judge that `harness new-plugin` writes, and those of the test kit."""
    (tmp_path / "ours.py").write_text(PLUGINS, encoding="utf-8")
    write_package("sure_of_it", "judge", tmp_path)
    return [*FROM_FILES, f"--plugin={tmp_path / 'ours.py'}", f"--plugin={tmp_path / 'sure_of_it/src/sure_of_it.py'}"]


def run_it(plugins: list[str], folder: Path, spec: str, run: str, *options: str) -> None:
    (folder / f"{run}.yaml").write_text(spec, encoding="utf-8")
    done = harness_here(*plugins, "run", f"{run}.yaml", "--out", run, "--quiet", "--jobs", "0", *options, cwd=folder)
    assert done.returncode == 0, done.stderr


def expect_verified(plugins: list[str], folder: Path, spec: str, run: str = "run", *options: str) -> None:
    run_it(plugins, folder, spec, run, *options)
    for words in (
        ("pack", run, "--out", f"{run}.zip"),
        ("verify", f"{run}.zip", "--replay", 20, "--spec", f"{run}.yaml", "--store", f"{run}-models"),
    ):
        done = harness_here(*plugins, "leaderboard", *words, cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr


JUDGES = (
    pytest.param("{sure_of_it: {sure: 0.5}}", marks=pytest.mark.slow),
    "words_kept",
    pytest.param("unsure", marks=pytest.mark.slow),
)
SPEC = FAST.replace("examples: 6", "examples: 20")


@pytest.mark.parametrize("judge", JUDGES)
def test_a_run_judged_anew_is_as_if_run_under_that_judge(judge: str, plugins: list[str], tmp_path: Path) -> None:
    run_it(plugins, tmp_path, SPEC, "first")
    expect_verified(plugins, tmp_path, SPEC + f"judge: {judge}\n", "second", "--from", "first")
    run_it(plugins, tmp_path, SPEC + f"judge: {judge}\n", "alone")
    successes = [row["success"] for cell in read_run(tmp_path / "alone") for row in cell.steps().to_pylist()]
    assert len(set(successes)) == 2  # or this says little
    second, alone = (
        {cell.record.key: cell.steps().drop_columns(["seconds"]).to_pylist() for cell in read_run(tmp_path / run)}
        for run in ("second", "alone")
    )
    assert second == alone


@pytest.mark.slow
@pytest.mark.parametrize("draws", [1, 5])
def test_a_random_vote_however_often_it_is_judged(draws: int, plugins: list[str], tmp_path: Path) -> None:
    expect_verified(plugins, tmp_path, SPEC + f"defenses: [none, echo]\njudge_draws: {draws}\n")


def test_compute_of_judging_is_unknown_throughout_or_nowhere(parts: Parts, tmp_path: Path) -> None:
    """What a judging model took before a run was judged again cannot be told from what the victim took."""

    def without(rows: list[dict[str, Any]], count: int) -> None:
        judged = [row for row in rows if row["step"] > 0 and row["failure"] is None]
        for row in judged[:count]:
            row["judge_nominal"] = row["judge_executed"] = None

    anew = forged(with_rows(parts, lambda rows: without(rows, len(rows))), tmp_path / "anew.zip")
    assert inspect_submission(anew).problems == []
    one = forged(with_rows(parts, lambda rows: without(rows, 1)), tmp_path / "one.zip")
    assert ["judge_nominal is unknown" in problem for problem in inspect_submission(one).problems] == [True]
