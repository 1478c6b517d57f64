"""The worst case over attacks: an example is broken when any attack broke it, and all of their compute is summed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from harness.cli import main
from harness.records.read import read_run
from leaderboard.data.trajectories import Trajectories
from leaderboard.site.site_data import payload
from leaderboard.site.texts.standing_text import worst_case_text
from leaderboard.standings.standing import Standing
from leaderboard.standings.standings import standings
from leaderboard.standings.worst_case import MAX_POINTS, WorstCase, worst_case
from tests.leaderboard.fake_run import FakeCell, write_run


def row(tmp_path: Path, *cells: FakeCell) -> Standing:
    (table,) = standings([read_run(write_run(tmp_path / "run", cells))])
    (found,) = table.rows
    return found


def worst(tmp_path: Path, *cells: FakeCell) -> WorstCase:
    found = row(tmp_path, *cells).worst_case
    assert found is not None
    return found


def attack(name: str, *first_success: int, **more: Any) -> FakeCell:
    return FakeCell(attack=name, examples=len(first_success), first_success=first_success, **{"steps": 4} | more)


def test_by_hand(tmp_path: Path) -> None:
    a, b = attack("a", 1, 0, 0, 3, step_flops=1e9), attack("b", 0, 2, 0, 1, step_flops=3e9)
    found = worst(tmp_path, a, b)
    assert (found.attacks, found.compared, found.attacked, found.unit) == (("a", "b"), 4, 4, "compute")
    # Budgets 1, 2, 3, 4 (all of a), 6, 9, 12 (all of b) ·10⁹ each; b's steps fit into 3, 6, 9 and 12.
    assert [p.budget / 1e9 for p in found.points] == pytest.approx([1, 2, 3, 4, 6, 9, 12])
    assert [p.asr.successes for p in found.points] == [1, 1, 2, 2, 3, 3, 3]
    assert [(p.compute or 0) / 1e9 for p in found.points] == pytest.approx([1, 2, 6, 7, 10, 13, 16])
    assert [p.queries for p in found.points] == [128, 256, 512, 640, 768, 896, 1024]
    assert found.full.asr.trials == 4


def test_the_strongest_attack_stays_and_the_worst_case_is_beside_it(tmp_path: Path) -> None:
    found = row(tmp_path, attack("a", 1, 2, 0, 0), attack("b", 0, 0, 1, 0))
    assert found.strongest is not None
    assert found.strongest.attack == "a"
    assert found.strongest.points[-1].asr.value == 0.5
    main_line, fine = worst_case_text(found)
    assert main_line == "75.0%"
    assert fine.splitlines()[1:] == ["2 attacks", "8.0 × 10⁹ FLOPs"]


def test_one_attack_adds_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = row(tmp_path, attack("a", 1, 0), attack("a", 0, 0, seed=1))
    assert found.worst_case is None
    assert worst_case_text(found) == ("", "")
    assert main(["leaderboard", "show", str(tmp_path / "run")]) == 0
    assert "worst case" not in capsys.readouterr().out


def test_only_examples_that_every_attack_attacked_under_the_same_seed(tmp_path: Path) -> None:
    cells = [attack("a", 1, 1, 0), attack("b", 0, 0, 0, first_example=1), attack("a", 1, 1, 1, seed=1)]
    found = worst(tmp_path, *cells)
    # e1 and e2 of seed 0; seed 1 has no b.
    assert (found.compared, found.attacked) == (2, 7)
    assert (found.full.asr.successes, found.full.asr.trials) == (1, 2)
    assert "2 of 7 examples" in worst_case_text(row(tmp_path / "again", *cells))[1]


def test_attacks_that_share_no_example(tmp_path: Path) -> None:
    assert row(tmp_path, attack("a", 1, 1), attack("b", 1, first_example=9)).worst_case is None
    assert row(tmp_path / "seeds", attack("a", 1), attack("b", 1, seed=1)).worst_case is None


def test_seeds_are_pooled_and_widen_the_interval(tmp_path: Path) -> None:
    alike = [attack(name, *[1, 0] * 20, seed=seed) for name in "ab" for seed in (0, 1)]
    apart = [attack(name, *[seed, 0] * 20, seed=seed) for name in "ab" for seed in (0, 1)]
    one, two = worst(tmp_path / "one", *alike).full.asr, worst(tmp_path / "two", *apart).full.asr
    assert (one.value, two.value) == (0.5, 0.25)
    assert two.high - two.low > one.high - one.low


def test_stopping_on_success_spends_less(tmp_path: Path) -> None:
    cells = [attack(name, 1, 0, step_flops=1e9, stop_on_success=True) for name in "ab"]
    found = worst(tmp_path, *cells)
    assert found.full.compute == pytest.approx((2 * 1e9 + 2 * 4e9) / 2)
    assert [p.asr.successes for p in found.points] == [1, 1, 1, 1]


def test_unknown_compute_is_compared_at_equal_queries(tmp_path: Path) -> None:
    found = row(tmp_path, attack("a", 1, 0, 0), attack("b", 0, 2, 0, step_flops=None))
    assert found.worst_case is not None
    assert found.worst_case.unit == "queries"
    assert [p.budget for p in found.worst_case.points] == [128, 256, 384, 512]
    assert [p.asr.successes for p in found.worst_case.points] == [1, 2, 2, 2]
    assert [p.compute for p in found.worst_case.points] == [None] * 4
    assert worst_case_text(found)[1].splitlines()[2:] == ["1,020 queries", "compute unknown"]


def test_an_attack_that_spends_nothing_takes_part(tmp_path: Path) -> None:
    found = worst(tmp_path, attack("free", 1, 0, 0, step_flops=0.0, steps=1), attack("b", 0, 1, 0, step_flops=1e9))
    assert [(p.budget, p.asr.successes) for p in found.points[:2]] == [(0, 1), (1e9, 2)]


def test_strings_found_elsewhere_break_but_have_no_price(tmp_path: Path) -> None:
    source = {"attack": "gcg", "victim": "other", "defense": "none", "threat": FakeCell.threat}
    replay = attack("transfer", 1, 1, 0, steps=1, step_flops=0.0, source=source)
    found = row(tmp_path, replay, attack("gcg", 0, 2, 2, step_flops=1e9))
    assert found.replaying == ("transfer",)
    assert found.cost_to_break is not None
    assert found.cost_to_break.attack == "gcg"  # the other would be broken at 0 FLOPs
    assert found.cost_to_break.compute == pytest.approx(1.75e9)
    assert found.worst_case is not None
    assert found.worst_case.full.asr.value == 1
    assert worst_case_text(found)[1].endswith("not counting searches elsewhere")


def test_json_and_page_have_what_the_terminal_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", [attack("a", 1, 2, 0, 0), attack("b", 0, 0, 1, 0)])
    runs = [read_run(run)]
    (section,) = json.loads(json.dumps(payload(runs, standings(runs)), allow_nan=False))["sections"]
    told = section["rows"][0]["worst"]
    assert told["attacks"] == ["a", "b"]
    assert (told["compared"], told["budget_in"]) == (4, "compute")
    assert told["points"]["value"][-1] == 0.75
    assert told["points"]["compute"][-1] == 8e9
    assert main(["leaderboard", "show", str(run)]) == 0
    shown = capsys.readouterr().out
    assert "all attacks together" in shown
    assert "8.0 × 10⁹ FLOPs" in shown


def test_a_long_curve_is_thinned_and_keeps_its_ends(tmp_path: Path) -> None:
    many = [attack(name, 1, 400, 0, steps=400, step_flops=flops) for name, flops in (("a", 1e9), ("b", 1.7e9))]
    found = worst(tmp_path, *many)
    assert len(found.points) <= MAX_POINTS + 2
    assert (found.points[0].budget, found.full.budget) == (1e9, pytest.approx(680e9))
    assert found.full.compute == pytest.approx(1080e9)
    assert found.full.asr.successes == 2


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 4))
def test_the_union_is_at_least_each_attack_and_never_falls(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    names = tuple(f"e{at}" for at in range(7))
    attacks = {}
    for at in range(count):
        steps = int(rng.integers(1, 6))
        cost = rng.uniform(0, 5, (7, steps)).cumsum(axis=1)
        attacks[f"a{at}"] = {0: Trajectories(names, rng.random((7, steps)) < 0.2, cost, cost * 2)}
    found = worst_case(attacks)
    assert found is not None
    won = [point.asr.successes for point in found.points]
    spent = [point.compute for point in found.points]
    assert won == sorted(won)
    assert spent == sorted(spent)  # type: ignore[type-var]
    each = [paths[0].so_far[:, -1] for paths in attacks.values()]
    assert won[-1] == np.any(each, axis=0).sum()
    assert spent[-1] == pytest.approx(sum(paths[0].compute[:, -1].mean() for paths in attacks.values()))
