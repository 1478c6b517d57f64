"""What a margin says of two versions: shown to be no worse, surely worse, or not to be told from so few examples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from leaderboard.versions.comparison import Comparison, compare_runs
from leaderboard.versions.release_guard import Guarded, guard
from leaderboard.versions.shown_measure import measure_name
from tests.leaderboard.versions.made_up_runs import AS_IT_CAME, NEW, cells, runs

MANY = 400


def comparison(folder: Path, old: int, new: int, of: int = MANY, **changes: object) -> Comparison:
    """So many examples fall in either version."""
    was = cells(old, of=of, more=AS_IT_CAME)
    return compare_runs(*runs(folder, was, cells(new, of=of, victim=NEW, more=AS_IT_CAME, **changes)))


def verdicts(found: Guarded) -> dict[str, str]:
    return {measure_name(one.measure): one.verdict for one in found.judged}


def test_many_examples_that_hardly_change_show_that_it_is_no_worse(tmp_path: Path) -> None:
    found = guard(comparison(tmp_path, 100, 103), 0.05)
    assert set(verdicts(found).values()) == {"not worse"}
    assert not found.fails("fail")
    assert not found.fails("pass")


def test_many_more_broken_are_surely_worse(tmp_path: Path) -> None:
    found = guard(comparison(tmp_path, 100, 200), 0.05)
    assert verdicts(found) == {
        "clean accuracy": "not worse",
        "ASR of gcg": "worse",
        "wrong with gcg or without": "worse",
    }
    assert found.fails("fail")
    assert found.fails("pass")
    assert not guard(comparison(tmp_path / "allowed", 100, 200), 0.4).fails("fail")


def test_what_became_safer_passes(tmp_path: Path) -> None:
    assert not guard(comparison(tmp_path, 200, 50), 0.05).fails("fail")


def test_too_few_examples_are_said_to_be_too_few_and_how_many_would_do(tmp_path: Path) -> None:
    found = guard(comparison(tmp_path, 5, 5, of=20), 0.05)
    assert set(verdicts(found).values()) == {"cannot be told"}
    assert found.fails("fail")
    assert not found.fails("pass")
    asr = next(one for one in found.judged if one.measure.measured == "ASR")
    assert asr.pairs_needed is not None
    enough, short = (
        guard(comparison(tmp_path / str(of), 5, 5, of=of), 0.05) for of in (asr.pairs_needed, asr.pairs_needed - 3)
    )
    assert verdicts(enough)["ASR of gcg"] == "not worse"
    assert verdicts(short)["ASR of gcg"] == "cannot be told"
    hopeless = guard(comparison(tmp_path / "hopeless", 5, 8, of=20), 0.05)
    assert next(one for one in hopeless.judged if one.measure.measured == "ASR").pairs_needed is None


def test_pairs_without_a_verdict_may_have_been_lost(tmp_path: Path) -> None:
    whole = guard(comparison(tmp_path / "whole", 100, 100), 0.05)
    assert verdicts(whole)["ASR of gcg"] == "not worse"
    lacking = guard(comparison(tmp_path / "lacking", 100, 100, silent=30, task_kind="labels"), 0.05)
    assert verdicts(lacking)["ASR of gcg"] == "cannot be told"
    worse = guard(comparison(tmp_path / "worse", 100, 140), 0.04)
    untold = guard(comparison(tmp_path / "untold", 100, 140, silent=50), 0.04)
    assert verdicts(worse)["ASR of gcg"] == "worse"
    assert verdicts(untold)["ASR of gcg"] == "cannot be told", "30 of the pairs may have gone either way"


def test_one_and_the_same_cell_is_no_worse_however_few_its_examples(tmp_path: Path) -> None:
    made = cells(3, of=10)
    assert not guard(compare_runs(*runs(tmp_path, made, made)), 0.0).fails("fail")
    other = [replace(made[0], victim=NEW)]
    assert guard(compare_runs(*runs(tmp_path / "other", made, other)), 0.0).fails("fail")


def test_cells_that_the_new_run_lacks_cannot_be_told(tmp_path: Path) -> None:
    old = [*cells(3, seeds=(0, 1)), *cells(3, attack="beast")]
    found = guard(compare_runs(*runs(tmp_path, old, cells(3, seeds=(0, 1)))), 0.05)
    assert found.lacking == 1
    assert found.fails("fail")
    assert not found.fails("pass")


@pytest.mark.parametrize("new", [100, 160])
def test_that_one_of_many_is_surely_worse_needs_more_the_more_are_looked_at(new: int, tmp_path: Path) -> None:
    attacks = [f"attack{at}" for at in range(6)]
    old = [cell for name in attacks for cell in cells(100, of=MANY, attack=name, more=AS_IT_CAME)]
    changed = [cell for name in attacks[:-1] for cell in cells(100, of=MANY, attack=name, victim=NEW, more=AS_IT_CAME)]
    changed += cells(new, of=MANY, attack=attacks[-1], victim=NEW, more=AS_IT_CAME)
    found = guard(compare_runs(*runs(tmp_path / "many", old, changed)), 0.11)
    alone = guard(comparison(tmp_path / "alone", 100, new), 0.11)
    assert verdicts(alone)["ASR of gcg"] == ("worse" if new == 160 else "not worse")
    assert verdicts(found)["ASR of attack5"] == ("cannot be told" if new == 160 else "not worse")
