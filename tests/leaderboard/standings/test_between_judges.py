"""How ranks change between judges of the same answers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import DataError
from harness.records.read import Run, read_run
from leaderboard.standings.ranks.between_judges import JudgeComparison, judge_comparisons, require_comparisons
from leaderboard.standings.standings import standings
from tests.leaderboard.fake_run import FakeCell, write_run
from tests.leaderboard.run_command import run_command

BASE = FakeCell(task_kind="text", wrong=0, examples=60, steps=10, slope=4.0, target_asr=0.5)
STRICT = {"none": 9.1, "guard": 9.5, "vote": 9.9}
"""Hardness by the first judge, log10 of FLOPs; a budget is 10."""


def judged(judge: str, hardness: dict[str, float], seeds: int = 3, **more: Any) -> list[FakeCell]:
    """Cells of one search each, whoever judged it: `search` tells it by defense and seed."""
    return [
        replace(
            BASE,
            judge=judge,
            spec_hash=judge[0] * 64,
            defense=defense,
            seed=seed,
            hardness=level,
            more={"search": f"{defense}{seed}".ljust(32, "0")} | more,
        )
        for defense, level in hardness.items()
        for seed in range(seeds)
    ]


def run_of(path: Path, cells: list[FakeCell]) -> Run:
    return read_run(write_run(path, cells, spec_hash=cells[0].spec_hash))


def compared(path: Path, *of_judges: list[FakeCell]) -> JudgeComparison:
    (found,) = judge_comparisons(standings([run_of(path / str(at), cells) for at, cells in enumerate(of_judges)]))
    return found


def ranks_of(found: JudgeComparison, judge: int) -> dict[str, tuple[int | None, int | None]]:
    return {label.split(" · ")[1]: (rows[judge].rank.best, rows[judge].rank.worst) for label, rows in found.rows}


def test_a_judge_that_turns_the_order_round_is_told(tmp_path: Path) -> None:
    lenient = {"none": 9.9, "guard": 9.5, "vote": 9.1}
    found = compared(tmp_path, judged("a_judge", STRICT), judged("b_judge", lenient))
    assert found.judges == ("a_judge", "b_judge")
    assert ranks_of(found, 0) == {"vote": (1, 1), "guard": (2, 2), "none": (3, 3)}
    assert ranks_of(found, 1) == {"none": (1, 1), "guard": (2, 2), "vote": (3, 3)}
    (pair,) = found.pairs
    assert (pair.tau, pair.pairs, pair.tied) == (pytest.approx(-1.0), 3, 0)
    assert {(swap.harder.split(" · ")[1], swap.easier.split(" · ")[1]) for swap in pair.swaps} == {
        ("vote", "guard"),
        ("vote", "none"),
        ("guard", "none"),
    }
    assert {swap.certainty for swap in pair.swaps} == {"certainly"}


def test_two_of_three_judges_agree_and_a_swap_may_be_within_intervals(tmp_path: Path) -> None:
    close = {"none": 9.1, "guard": 9.72, "vote": 9.7}
    one = judged("a_judge", {"none": 9.1, "guard": 9.68, "vote": 9.72})
    found = compared(tmp_path, one, judged("b_judge", close), judged("c_judge", STRICT))
    pairs = {(pair.one, pair.other): pair for pair in found.pairs}
    assert len(pairs) == 3
    by_cost = [{label: rows[at].cost.compute for label, rows in found.rows} for at in (0, 1)]  # type: ignore[union-attr]
    same = [sorted(costs, key=costs.__getitem__) for costs in by_cost]
    swapped = pairs["a_judge", "b_judge"].swaps
    assert len(swapped) == (same[0] != same[1])
    assert {swap.certainty for swap in swapped} <= {"within intervals"}, "neither judge tells them apart"
    assert pairs["a_judge", "b_judge"].tau == pytest.approx(1 / 3 if swapped else 1.0)


def test_what_did_not_break_is_ordered_by_asr_and_tied_where_that_is_the_same(tmp_path: Path) -> None:
    def with_asr(judge: str, broken: dict[str, int]) -> list[FakeCell]:
        cells = judged(judge, dict.fromkeys(broken, 9.0))
        return [replace(c, first_success=[3] * broken[c.defense] + [0] * (60 - broken[c.defense])) for c in cells]

    tied = with_asr("a_judge", {"none": 50, "guard": 6, "vote": 6})
    other = with_asr("b_judge", {"none": 50, "guard": 3, "vote": 12})
    (pair,) = compared(tmp_path / "1", tied, other).pairs
    # Pairs: two in the same order, one tied under the first judge: 2 / sqrt(2 · 3).
    assert pair.tau == pytest.approx(2 / 6**0.5)
    assert (pair.pairs, pair.tied, pair.swaps) == (3, 1, ())
    nothing = with_asr("a_judge", {"none": 0, "guard": 0, "vote": 0})
    (pair,) = compared(tmp_path / "2", nothing, other).pairs
    assert (pair.tau, pair.tied) == (None, 3)


def test_one_seed_has_an_order_and_no_rank(tmp_path: Path) -> None:
    lenient = {"none": 9.9, "guard": 9.5, "vote": 9.1}
    found = compared(tmp_path, judged("a_judge", STRICT, seeds=1), judged("b_judge", lenient, seeds=1))
    assert {rows[0].rank.note for _, rows in found.rows} == {"one seed"}
    (pair,) = found.pairs
    assert pair.tau == pytest.approx(-1.0)
    assert {swap.certainty for swap in pair.swaps} == {"within intervals"}


def test_rows_that_are_not_of_the_same_searches_are_left_out_and_named(tmp_path: Path) -> None:
    other = judged("b_judge", STRICT)
    other = [replace(c, more={"search": "f" * 32}) if c.defense == "vote" else c for c in other]
    other = [c for c in other if c.defense != "guard"]
    found = compared(tmp_path, judged("a_judge", STRICT), other)
    assert [label.split(" · ")[1] for label, _ in found.rows] == ["none"]
    assert {label.split(" · ")[1]: reason for label, reason in found.apart} == {
        "guard": "not judged by all",
        "vote": "its attacks were run again, or are different",
    }
    (pair,) = found.pairs
    assert (pair.tau, pair.pairs) == (None, 0)


def test_a_row_that_one_judge_cannot_rank_says_why(tmp_path: Path) -> None:
    second = judged("b_judge", STRICT)
    second = [replace(c, more=c.more | {"n_clean": 600}) if c.defense == "guard" else c for c in second]
    found = compared(tmp_path, judged("a_judge", STRICT), second)
    by_label = {label.split(" · ")[1]: rows for label, rows in found.rows}
    assert "below the floor" in by_label["guard"][1].rank.note
    assert ranks_of(found, 1)["vote"] == (1, 1)
    (pair,) = found.pairs
    assert pair.pairs == 1, "the two rows that both can compare"


def test_nothing_to_compare_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"judged by a_judge alone\. Have another judge rate the run"):
        require_comparisons(standings([run_of(tmp_path / "1", judged("a_judge", STRICT))]))
    other = [replace(cell, task="another") for cell in judged("b_judge", STRICT)]
    with pytest.raises(DataError, match=r"no search was judged by two of a_judge, b_judge\. Give a run and the one"):
        require_comparisons(
            standings([run_of(tmp_path / "2", judged("a_judge", STRICT)), run_of(tmp_path / "3", other)])
        )


@pytest.mark.slow
def test_the_command_says_it_in_words_and_as_json(tmp_path: Path) -> None:
    lenient = {"none": 9.9, "guard": 9.5, "vote": 9.1}
    runs = [
        write_run(tmp_path / name, judged(name, hardness), spec_hash=name[0] * 64)
        for name, hardness in (("a_judge", STRICT), ("b_judge", lenient))
    ]
    shown = " ".join(run_command("leaderboard", "judges", *runs).split())
    assert "a_judge and b_judge: tau-b −1.00; of 3 pairs of rows 3 in another order, 3 of them certainly" in shown
    (found,) = json.loads(run_command("leaderboard", "judges", *runs, "--json"))
    assert found["judges"] == ["a_judge", "b_judge"]
    assert found["pairs"][0]["tau_b"] == -1
    assert [row["by_judge"][0]["rank"] for row in found["rows"] if row["row"].endswith("vote")] == [1]
