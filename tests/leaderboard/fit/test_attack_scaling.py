"""Attack scaling by counts: what it is fitted to, what it tells, and what it refuses."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

from leaderboard.data.count_table import CountTable, make_count_table
from leaderboard.data.trajectories import Trajectories
from leaderboard.fit.attack_scaling import AttackScaling, fit_attack_scaling, fit_first_successes
from leaderboard.fit.likelihood.first_successes import first_successes_of_counts, first_successes_of_trajectories
from tests.benchmarks.intervals.attacks import REFERENCE, Study, simulate


def counts(won: list[list[int]], trials: int = 100, compute: list[float] | None = None) -> CountTable:
    """One curve, a row of ``won`` for each seed."""
    steps = len(won[0])
    rows = steps * len(won)
    spent = compute or [float(at + 1) for at in range(steps)]
    columns = {name: np.full(rows, name, dtype=object) for name in ("task", "family", "attack")}
    columns |= {"n_params": np.full(rows, 5), "trials": np.full(rows, trials)}
    columns |= {"seed": np.repeat(np.arange(len(won)), steps), "iteration": np.tile(np.arange(steps), len(won))}
    columns |= {"successes": np.concatenate(won), "attack_compute": np.tile(spent, len(won))}
    return make_count_table("t", columns)


def only(table: CountTable) -> AttackScaling:
    (fit,) = fit_attack_scaling(table)
    return fit


def test_increments_are_first_successes_and_nothing_is_dropped() -> None:
    seen = first_successes_of_counts(counts([[0, 30, 50, 50], [0, 0, 0, 0]], compute=[0.0, 1.0, 2.0, 4.0]))
    rows = seen.observations
    assert (seen.kind, seen.examples, seen.successes, seen.later, seen.seeds) == ("so_far", 200, 50, 20, 2)
    by_seed = [
        list(zip(rows.low[own], rows.high[own], rows.weight[own], strict=True))
        for own in (rows.cluster == 0, rows.cluster == 1)
    ]
    assert by_seed[0] == [(-np.inf, 0.0, 30), (0.0, np.log10(2), 20), (np.log10(4), np.inf, 50)]
    assert by_seed[1] == [(np.log10(4), np.inf, 100)]


def test_a_step_that_costs_nothing_more_joins_the_one_before() -> None:
    seen = first_successes_of_counts(counts([[10, 30, 50]], compute=[1.0, 1.0, 2.0]))
    assert seen.observations.weight.tolist() == [30, 20, 50]


def test_records_and_their_table_agree_where_all_examples_cost_the_same() -> None:
    study = Study(3, 80, 30, 0.5)
    table, cells, _, _ = simulate(study, np.random.default_rng(0))
    by_table = only(table)
    by_records = fit_first_successes({}, first_successes_of_trajectories([(paths, REFERENCE) for paths in cells]))
    assert by_records.line.slope == pytest.approx(by_table.line.slope, rel=1e-5)
    assert by_records.line.intercept == pytest.approx(by_table.line.intercept, rel=1e-5)


def test_stopping_on_success_changes_nothing() -> None:
    _, cells, _, _ = simulate(Study(2, 60, 20, 0.6, form="records"), np.random.default_rng(1))
    stopped = []
    for paths in cells:
        first = np.where(paths.so_far[:, -1], paths.at_step.argmax(axis=1), paths.at_step.shape[1] - 1)
        spent = np.minimum(paths.compute, paths.compute[np.arange(len(first)), first][:, None])
        stopped.append(Trajectories(paths.examples, paths.so_far, spent, spent))
    whole, short = (
        fit_first_successes({}, first_successes_of_trajectories([(p, REFERENCE) for p in each]))
        for each in (cells, stopped)
    )
    assert short.line == whole.line


def test_another_unit_of_compute_moves_the_intercept_alone() -> None:
    table, _, _, _ = simulate(Study(3, 60, 20, 0.4), np.random.default_rng(2))
    moved = make_count_table("t", {**table.columns, "attack_compute": table["attack_compute"] * 1e4})
    before, after = only(table).line, only(moved).line
    assert after.slope == pytest.approx(before.slope, rel=1e-6)
    assert before.slope is not None
    assert before.intercept is not None
    assert after.intercept == pytest.approx(before.intercept - 4 * before.slope, rel=1e-5)


def test_the_number_of_steps_is_no_evidence() -> None:
    """The same first successes looked at ten times as often: least squares grows sure of itself, counts hardly."""
    rng = np.random.default_rng(3)
    widths = {}
    for steps in (20, 200):
        table, _, _, _ = simulate(Study(1, 150, steps, 0.6), rng)
        for method in ("counts", "ols"):
            (fit,) = fit_attack_scaling(table, method)  # type: ignore[arg-type]
            assert fit.line.slope_ci is not None
            widths[method, steps] = fit.line.slope_ci[1] - fit.line.slope_ci[0]
    assert widths["counts", 200] > 0.7 * widths["counts", 20]
    assert widths["ols", 200] < 0.5 * widths["ols", 20]


def test_a_seed_that_was_never_broken_counts() -> None:
    rising = [5, 15, 25, 33, 40]
    with_it, without = only(counts([rising] * 3 + [[0] * 5])), only(counts([rising] * 3))
    assert with_it.seeds == 4
    middle, _, _ = with_it.band(np.array([5.0]))
    other, _, _ = without.band(np.array([5.0]))
    assert middle[0] < 0.8 * other[0]


def test_saturation_is_seen_and_told() -> None:
    table, _, _, _ = simulate(Study(3, 300, 50, 0.38, asymptote=0.4), np.random.default_rng(4))
    fit = only(table)
    told = fit.to_json()
    assert told["saturation_p"] < 0.005
    assert told["asymptote_low"] < 0.4 < told["asymptote_high"]
    middle, low, high = fit.band(np.array([1.0]))
    assert low[0] < middle[0] == pytest.approx(told["asymptote"], abs=0.01)
    assert middle[0] < high[0] < 0.6


def test_no_saturation_is_seen_where_there_is_none() -> None:
    table, _, _, _ = simulate(Study(3, 300, 50, 0.8), np.random.default_rng(5))
    told = only(table).to_json()
    assert (told["asymptote"], told["asymptote_low"]) == (None, None)
    assert told["saturation_p"] > 0.005


def test_counts_that_fall_are_successes_at_each_step() -> None:
    fit = only(counts([[5, 12, 10, 25, 40]] * 3))
    assert fit.asr == "at_step"
    assert fit.line.slope is not None
    assert fit.line.slope > 0
    assert fit.line.n == 300


def test_few_seeds_say_so() -> None:
    rising = [5, 15, 25, 33, 40]
    assert only(counts([rising])).interval.startswith("examples alone (1 seed")
    assert only(counts([rising] * 3)).interval.startswith("seeds and examples")


@pytest.mark.parametrize(
    ("won", "note"),
    [
        ([[0, 0, 0]], "Not enough data: 0 of 100 attacked examples fell, 10 are needed."),
        ([[1, 2, 4], [0, 0, 3]], "Not enough data: 7 of 200 attacked examples fell, 10 are needed."),
        ([[40, 41, 42]], "Not enough data: 42 of 100 attacked examples fell, 40 of them at the first step; 5 later"),
        ([[100, 100, 100]], "Not enough data: 100 of 100 attacked examples fell, 100 of them at the first step"),
    ],
)
def test_refusals_say_why(won: list[list[int]], note: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told = only(counts(won)).to_json()
    assert told["note"].startswith(note)
    assert (told["slope"], told["slope_low"], told["intercept"], told["interval"]) == (None, None, None, "")
    json.dumps(told, allow_nan=False)


@pytest.mark.parametrize("seed", range(30))
def test_any_counts_give_numbers_or_a_reason(seed: int) -> None:
    rng = np.random.default_rng(seed)
    steps, seeds, trials = rng.integers(1, 12), rng.integers(1, 6), int(rng.integers(3, 60))
    won = np.sort(rng.integers(0, trials + 1, (seeds, steps)), axis=1)
    if seed % 3 == 0:
        won = won[:, ::-1]
    if seed % 5 == 0:
        won = np.minimum(won, won[:, :1] + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = only(counts(won.tolist(), trials))
    told = fit.to_json()
    json.dumps(told, allow_nan=False)
    assert told["note"] if told["slope"] is None else "Not enough" not in told["note"]
    if told["slope"] is not None:
        assert told["slope_low"] <= told["slope"] <= told["slope_high"]
        middle, low, high = fit.band(np.geomspace(1e-3, 1e3, 20))
        assert ((low >= 0) & (low <= middle) & (middle <= high) & (high <= 1)).all()
