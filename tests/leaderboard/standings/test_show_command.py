"""`harness leaderboard show`: on narrow terminals, as Markdown, and of one task alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.leaderboard.fake_run import FakeCell, write_run
from tests.run.runs import harness_here

LONG = "adversarial_training_with_a_long_name"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shown")
    cells = [
        FakeCell(task=task, seed=seed, defense=defense, victim="tiny(size=small, steps=2000)")
        for task in ("word_length", "password_match")
        for seed in (0, 1)
        for defense in ("none", LONG)
    ]
    write_run(folder / "run", cells)
    return folder


def show(folder: Path, *options: str, status: int = 0) -> str:
    done = harness_here("leaderboard", "show", "run", *options, cwd=folder)
    assert done.returncode == status, done.stderr
    return done.stderr if status else done.stdout


@pytest.mark.parametrize("columns", ["80", "160"])
def test_nothing_is_cut_on_a_terminal(columns: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", columns)
    shown = show(folder)
    assert "…" not in shown
    if columns == "80":
        numbers = json.loads(show(folder, "--json"))[0]["rows"]
        assert all(len(line) <= 100 for line in shown.splitlines()), "80 and what colours a line"
        assert shown.count(f"{LONG} on tiny(size=small, steps=2000)") == 2
        assert shown.count("    clean accuracy: ") == 2 * len(numbers)


def test_markdown_says_what_the_table_says(folder: Path) -> None:
    table, markdown = show(folder), show(folder, "--markdown")
    rows = [line for line in markdown.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 * (2 + 2)
    assert len({row.replace("\\|", "").count("|") for row in rows}) == 1
    for words in ("compute to ASR 50%", "2 seeds", "spec fake 1.0"):
        assert words in table
        assert words in markdown
    assert "Give one of them" in show(folder, "--markdown", "--json", status=2)


def test_tasks_are_chosen_by_name(folder: Path) -> None:
    both, one = show(folder), show(folder, "--task", "word_length")
    assert ("password_match" in both, "password_match" in one) == (True, False)
    assert show(folder, "--task", "word_length", "--task", "password_match") == both
    assert {section["task"] for section in json.loads(show(folder, "--task", "word_length", "--json"))} == {
        "word_length"
    }
    said = show(folder, "--task", "word_lenght", status=2)
    assert "--task word_lenght: no run is of that task (did you mean 'word_length'?)" in said
