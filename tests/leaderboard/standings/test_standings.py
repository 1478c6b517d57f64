"""Standings: what is pooled, what is chosen, what is kept apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import DataError
from harness.records.read import read_run
from leaderboard.site.site_data import payload
from leaderboard.site.texts.standing_text import examples_text, excluded_text
from leaderboard.standings.standing import Standing
from leaderboard.standings.standings import Standings, standings
from tests.leaderboard.fake_run import FakeCell, write_run


def tables(tmp_path: Path, *cells: FakeCell, target: float | None = None) -> list[Standings]:
    return standings([read_run(write_run(tmp_path / "run", cells))], target)


def only(tmp_path: Path, *cells: FakeCell, target: float | None = None) -> Standing:
    (table,) = tables(tmp_path, *cells, target=target)
    (row,) = table.rows
    return row


def test_seeds_are_pooled(tmp_path: Path) -> None:
    row = only(
        tmp_path,
        FakeCell(examples=4, steps=2, first_success=[1, 2, 0, 0], seed=0),
        FakeCell(examples=2, steps=2, first_success=[1, 1], seed=1),
    )
    assert row.seeds == 2
    assert row.strongest is not None
    assert [point.asr.successes for point in row.strongest.points] == [3, 4]
    assert [point.asr.trials for point in row.strongest.points] == [6, 6]
    assert row.clean is not None
    assert (row.clean.successes, row.clean.trials) == (6, 10)


def test_where_nothing_broke_the_strongest_attack_is_the_one_that_tried_most(tmp_path: Path) -> None:
    tried = FakeCell(attack="gcg", examples=4, steps=2, first_success=[0] * 4)
    row = only(tmp_path, FakeCell(attack="none", examples=4, steps=1, first_success=[0] * 4, step_flops=0.0), tried)
    assert row.strongest is not None
    assert row.strongest.attack == "gcg"


def test_clean_examples_count_once_per_seed_whatever_the_attacks(tmp_path: Path) -> None:
    row = only(tmp_path, FakeCell(attack="gcg"), FakeCell(attack="random_token"))
    assert row.clean is not None
    assert row.clean.trials == 42


def test_who_was_not_attacked_counts_once_per_seed_whatever_the_attacks(tmp_path: Path) -> None:
    row = only(
        tmp_path,
        FakeCell(attack="gcg", wrong=3),
        FakeCell(attack="random_token", wrong=3),
        FakeCell(attack="gcg", wrong=4, seed=1),
    )
    assert row.excluded == {"already wrong": 7}
    assert excluded_text(row) == "not attacked: 7 already wrong"
    assert "not attacked: 7 already wrong" in examples_text(row)[1]


def test_the_strongest_and_the_cheapest_attack_may_differ(tmp_path: Path) -> None:
    quick = FakeCell(attack="quick", examples=4, steps=4, first_success=[1, 1, 0, 0], step_flops=1e9)
    slow = FakeCell(attack="slow", examples=4, steps=4, first_success=[4, 4, 4, 0], step_flops=1e9)
    row = only(tmp_path, quick, slow, target=0.5)
    assert row.strongest is not None
    assert row.strongest.attack == "slow"
    assert row.cost_to_break is not None
    assert row.cost_to_break.attack == "quick"
    assert row.cost_to_break.compute == pytest.approx(1e9)


def test_compute_to_the_target_by_hand(tmp_path: Path) -> None:
    # Pooled ASR 0, .25, .5, .75 after 1, 2, 3, 4 steps: 40% lies at 2.6 steps.
    row = only(tmp_path, FakeCell(examples=4, steps=4, first_success=[2, 3, 4, 0], step_flops=1e9), target=0.4)
    assert row.cost_to_break is not None
    assert row.cost_to_break.compute == pytest.approx(2.6e9)
    assert row.cost_to_break.low is not None
    assert row.cost_to_break.low <= 2.6e9
    assert row.cost_to_break.high is None  # some draws of four examples never reach the target


def test_the_interval_narrows_with_examples_and_holds_the_truth(tmp_path: Path) -> None:
    cells = [FakeCell(seed=seed, examples=400, steps=30, hardness=9.8) for seed in range(4)]
    found = only(tmp_path, *cells).cost_to_break
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.compute < found.high  # type: ignore[operator]
    assert found.low * 0.9 < 10**9.8 < found.high * 1.1
    assert found.high / found.low < 1.3


def test_not_broken_says_within_what(tmp_path: Path) -> None:
    row = only(tmp_path, FakeCell(examples=4, steps=3, first_success=[0, 0, 0, 1], step_flops=1e9))
    assert row.cost_to_break is not None
    assert (row.cost_to_break.compute, row.cost_to_break.budget) == (None, pytest.approx(3e9))


def test_hardest_comes_first(tmp_path: Path) -> None:
    cells = [FakeCell(victim=f"v{at}", hardness=h, examples=100) for at, h in enumerate((9.5, 20, 9.9))]
    (table,) = tables(tmp_path, *cells)
    assert [row.victim for row in table.rows] == ["v1", "v2", "v0"]


def test_defense_compute_and_rounds(tmp_path: Path) -> None:
    cells = [FakeCell(), *(FakeCell(defense="at", round=r, defense_flops=r * 1e13) for r in (1, 2))]
    (table,) = tables(tmp_path, *cells)
    found = {(row.defense, row.round): row.defense_compute for row in table.rows}
    assert found == {("none", None): 0, ("at", 1): pytest.approx(1e13), ("at", 2): pytest.approx(2e13)}


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("spec_hash", "6" * 64, "spec hash"),
        ("data_hash", "e" * 64, "data hash"),
        ("accounting", "other", "accounting convention"),
        ("judge", "other", "judge"),
        ("stop_on_success", True, "stopping rule"),
    ],
)
def test_what_is_not_comparable_shares_no_table(field: str, value: object, word: str, tmp_path: Path) -> None:
    found = tables(tmp_path, FakeCell(), FakeCell(**{field: value}))  # type: ignore[arg-type]
    assert [len(table.rows) for table in found] == [1, 1]
    assert all(table.section.separation.endswith(f"they differ in {word}.") for table in found)


def test_tasks_and_threats_have_their_own_tables_without_a_notice(tmp_path: Path) -> None:
    found = tables(tmp_path, FakeCell(), FakeCell(task="spam"), FakeCell(threat="prefix, 10 tokens, gradient"))
    assert [(t.section.scope.task, t.section.scope.threat[:6], t.section.separation) for t in found] == [
        ("spam", "suffix", ""),
        ("word_length", "prefix", ""),
        ("word_length", "suffix", ""),
    ]


def test_a_failed_cell_is_listed_where_its_like_stand(tmp_path: Path) -> None:
    (table,) = tables(tmp_path, FakeCell(), FakeCell(seed=1, status="failed", data_hash=""))
    assert [record.seed for record in table.section.failed] == [1]
    assert table.section.separation == ""


def test_the_same_run_twice_changes_nothing(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", [FakeCell()]))
    again = read_run(write_run(tmp_path / "again", [FakeCell()]))
    once, twice = standings([run]), standings([run, again])
    assert once[0].rows == twice[0].rows


def test_one_cell_by_two_versions_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [FakeCell(), FakeCell(examples=41)])
    with pytest.raises(DataError, match="different versions"):
        standings([read_run(run)])


@pytest.mark.parametrize("examples", [0, 1])
def test_little_data_gives_words_and_no_nan(examples: int, tmp_path: Path) -> None:
    runs = [read_run(write_run(tmp_path / "run", [FakeCell(examples=examples, wrong=0, first_success=[0] * examples)]))]
    data = payload(runs, standings(runs))
    json.dumps(data, allow_nan=False)
    (row,) = data["sections"][0]["rows"]
    (curve,) = row["curves"]
    assert curve["fit"] is None or curve["fit"]["note"].startswith("Not enough data")
    assert (row["asr"] is None) == (examples == 0)
