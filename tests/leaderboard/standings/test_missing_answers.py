"""Answers that are none: in no rate either way, counted where they are shown, and no ground for a good rank."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.records.read import read_run
from leaderboard.commands.print_standings import print_standings
from leaderboard.data.count_table_of_run import run_count_table
from leaderboard.data.trajectories import read_trajectories
from leaderboard.site.build import build_site
from leaderboard.site.texts.standing_text import clean_text
from leaderboard.standings.standing import Standing
from leaderboard.standings.standings import standings
from tests.leaderboard.fake_run import FakeCell, write_run

TEXT = FakeCell(task="behaviors", task_kind="text", examples=20, wrong=0, steps=10, judge="refusal_match")


def rows(path: Path, *cells: FakeCell) -> list[Standing]:
    (table,) = standings([read_run(write_run(path, cells))])
    return list(table.rows)


@pytest.mark.parametrize("silent", [0, 1, 5, 20])
def test_an_example_without_any_answer_is_in_no_rate(silent: int, tmp_path: Path) -> None:
    falls = [3 if at % 2 else 0 for at in range(20)]
    cell = replace(TEXT, first_success=falls, silent=silent)
    (read,) = read_run(write_run(tmp_path / "run", [cell])).cells
    found = read_trajectories(read)
    assert found.examples == tuple(sorted(f"e{at}" for at in range(silent, 20)))
    assert (found.asked, found.missing, found.left_out) == (200, 10 * silent, silent)
    (table,) = standings([read_run(tmp_path / "run")])
    (row,) = table.rows
    if silent == 20:
        assert row.asr is row.cost_to_break is row.rank.best is None
    else:
        assert row.asr is not None
        assert (row.asr.successes, row.asr.trials) == (sum(map(bool, falls[silent:])), 20 - silent)


def test_a_success_after_steps_without_an_answer_counts(tmp_path: Path) -> None:
    (row,) = rows(tmp_path / "run", replace(TEXT, first_success=[4] * 20, missing=3))
    assert row.asr is not None
    assert (row.asr.successes, row.asr.trials, row.missing_answers) == (20, 20, 60)


def test_at_a_step_only_those_that_were_answered_count(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", [replace(TEXT, first_success=[4] * 20, missing=3, silent=5, steps=6)]))
    so_far, at_step = (run_count_table(run, asr).columns for asr in ("so_far", "at_step"))
    assert so_far["trials"].tolist() == [15] * 6
    assert so_far["successes"].tolist() == [0] * 3 + [15] * 3
    assert at_step["iteration"].tolist() == [4, 5, 6], "nobody was answered before"
    assert at_step["trials"].tolist() == at_step["successes"].tolist() == [15] * 3


@pytest.mark.parametrize("steps", [4, 10])
def test_an_example_of_which_nothing_could_be_judged_is_in_no_rate(steps: int, tmp_path: Path) -> None:
    falls = [7] * 8 + [0] * 12
    cell = replace(TEXT, first_success=falls, unparseable=steps, more={"n_clean": 23, "n_clean_unparseable": 3})
    run = read_run(write_run(tmp_path / "run", [cell]))
    found = read_trajectories(run.cells[0])
    broken = 8  # a success is a verdict, whatever could not be read before
    assert (len(found.examples), found.left_out) == ((20, 0) if steps == 4 else (broken, 12))
    assert found.unparseable == (80 if steps == 4 else 8 * 6 + 12 * 10)
    (table,) = standings([run])
    (row,) = table.rows
    assert row.asr is not None
    assert (row.asr.successes, row.asr.trials) == (broken, len(found.examples))
    assert row.clean is not None
    assert (row.clean.successes, row.clean.trials, row.unparseable_clean) == (20, 20, 3)
    assert "3 could not be judged" in clean_text(row)[1]
    assert row.rank.note == "too few verdicts"


def test_who_does_not_answer_does_not_rank_first(tmp_path: Path) -> None:
    falls = [2] * 15 + [0] * 5
    answers = replace(TEXT, victim="answers", first_success=falls)
    mostly = replace(TEXT, victim="mostly", first_success=falls, silent=2)  # of 20, the most that is allowed
    mute = replace(TEXT, victim="mute", first_success=[0] * 20, missing=9)
    garbled = replace(TEXT, victim="garbled", first_success=[0] * 20, unparseable=5)
    absent = replace(TEXT, victim="absent", first_success=[0] * 20, more={"n_clean": 40, "n_clean_missing": 20})
    found = {row.victim: row for row in rows(tmp_path / "run", answers, mostly, mute, garbled, absent)}
    assert {name for name, row in found.items() if row.rank.comparable} == {"answers", "mostly"}
    assert {found[name].rank.note for name in ("mute", "garbled", "absent")} == {"too few verdicts"}
    assert set(list(found)[:2]) == {"answers", "mostly"}, "rows that may be ranked stand first"
    clean = found["absent"].clean
    assert clean is not None
    assert (clean.successes, clean.trials, found["absent"].missing_clean) == (20, 20, 20)


def test_no_clean_answer_is_no_clean_rate(tmp_path: Path) -> None:
    nothing = {"n_clean": 20, "n_clean_correct": 0, "n_clean_missing": 20, "n_attacked": 0}
    (row,) = rows(tmp_path / "run", replace(TEXT, first_success=[], examples=0, more=nothing))
    assert row.clean is row.asr is row.rank.best is None


def test_they_are_counted_wherever_standings_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cell = replace(TEXT, first_success=[4] * 20, missing=3, more={"n_clean": 23, "n_clean_missing": 3})
    run = read_run(write_run(tmp_path / "run", [cell]))
    print_standings(standings([run]))
    shown = " ".join(capsys.readouterr().out.split())
    assert "60 of 200 answers missing" in shown
    assert "3 without an answer" in shown
    assert "too few verdicts" in shown
    build_site([run], tmp_path / "site")
    (section,) = json.loads((tmp_path / "site" / "data.json").read_text())["sections"]
    assert [(row["missing_answers"], row["missing_clean"], row["rank"]) for row in section["rows"]] == [(60, 3, None)]
    pages = " ".join(" ".join(page.read_text().split()) for page in (tmp_path / "site").rglob("*.html"))
    for words in ("60 of 200 answers missing", "3 without an answer", "too few verdicts"):
        assert words in pages
    assert "clean prompts without an answer" in pages
