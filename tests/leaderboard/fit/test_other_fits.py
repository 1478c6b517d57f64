"""Offense against defense, efficiency and size scaling."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.errors import DataError
from leaderboard.data.count_table import CountTable, make_count_table
from leaderboard.fit.attack_scaling import AttackScaling
from leaderboard.fit.crossing import crossing_bounds
from leaderboard.fit.defense_efficiency import fit_efficiency
from leaderboard.fit.line import Line, ols, weighted_least_squares
from leaderboard.fit.offense_defense import OffenseDefense, fit_offense_defense
from leaderboard.fit.sizes.size_scaling import fit_size_scaling
from tests.benchmarks.intervals.defenses import INTERCEPT, SLOPE, Balance, Training
from tests.leaderboard.run_command import run_command


def balance(seed: int = 0, **changes: object) -> CountTable:
    study = Balance(**({"seeds": 4, "rounds": 12, "tilt": 0.0} | changes))  # type: ignore[arg-type]
    return study.simulate(np.random.default_rng(seed))


def both(table: CountTable) -> tuple[OffenseDefense, OffenseDefense]:
    (censored,), (least,) = (fit_offense_defense(table, 0.5, method) for method in ("censored", "ols"))
    return censored, least


def test_bounds_of_the_first_reach() -> None:
    compute, asr = np.array([1.0, 2, 2, 4]), np.array([0.1, 0.1, 0.3, 0.6])
    assert crossing_bounds(compute, asr, 0.05) == (0.0, 1.0)
    assert crossing_bounds(compute, asr, 0.2) == (1.0, 2.0)
    assert crossing_bounds(compute, asr, 0.5) == (2.0, 4.0)
    assert crossing_bounds(compute, asr, 0.7) == (4.0, np.inf)


def test_the_line_is_found_where_half_was_never_broken() -> None:
    errors = {"censored": [], "ols": []}  # type: ignore[var-annotated]
    for seed in range(30):
        censored, least = both(balance(seed, never=0.5))
        assert censored.censored > 10
        assert (censored.line.n, least.line.n) == (48, 48 - censored.censored)
        for fit in (censored, least):
            assert fit.line.slope is not None
            errors[fit.method].append(fit.line.slope - SLOPE)
    assert abs(np.mean(errors["censored"])) < 0.06
    assert np.mean(errors["ols"]) < -0.08  # leaving out what held flatters the attacker


def test_with_little_censoring_and_noise_both_methods_agree() -> None:
    censored, least = both(balance(never=0.04, noise=0.05, spread=0.0))
    assert censored.line.slope == pytest.approx(least.line.slope, abs=0.05)
    assert censored.line.intercept == pytest.approx(INTERCEPT, abs=0.3)
    assert censored.against_slope_1 == "below"
    assert censored.stalemate_intercept == pytest.approx(INTERCEPT + (SLOPE - 1) * -5, abs=0.1)
    middle, low, high = censored.band(np.array([1e-5]))
    assert low[0] < middle[0] < high[0]
    assert np.log10(middle[0]) == pytest.approx(INTERCEPT - 5 * SLOPE, abs=0.1)


def test_too_few_broken_pairs_are_refused_in_words() -> None:
    table = balance(seeds=1, rounds=6, never=0.9, spread=0.0)
    (fit,) = fit_offense_defense(table, 0.5)
    told = fit.to_json()
    assert told["note"].startswith("Not enough data: ")
    assert told["note"].endswith("never reached ASR 50%.")
    assert (told["slope"], told["against_slope_1"], told["slope_1_intercept"]) == (None, "", None)
    json.dumps(told, allow_nan=False)


def rates(study: Training, seed: int = 0) -> CountTable:
    rng = np.random.default_rng(seed)
    rows = study.seeds * study.rounds
    x = np.tile(np.linspace(-6, -4, study.rounds), study.seeds)
    odds = np.log(10) * (study.slope * x - 6)
    columns = {name: np.full(rows, name, dtype=object) for name in ("task", "family", "attack")}
    columns |= {"n_params": np.full(rows, 5), "trials": np.full(rows, study.examples), "iteration": np.ones(rows, int)}
    columns |= {"seed": np.repeat(np.arange(study.seeds), study.rounds), "attack_compute": np.ones(rows)}
    columns |= {"round": np.tile(np.arange(1, study.rounds + 1), study.seeds), "defense_compute": 10**x}
    columns |= {"successes": rng.binomial(study.examples, 1 / (1 + np.exp(-odds))), "inference_compute": 10 ** (x + 6)}
    columns |= {"defense": np.array([f"votes(n={at})" for at in np.tile(np.arange(study.rounds), study.seeds)], object)}
    return make_count_table("t", columns)


@pytest.mark.parametrize("x", ["defense_compute", "inference_compute", "round"])
def test_efficiency_takes_any_amount(x: str) -> None:
    table = rates(Training(3, 8, 400))
    if x != "inference_compute":
        table = CountTable("t", {**table.columns, "defense": np.full(len(table), "at", dtype=object)})
    (fit,) = fit_efficiency(table, x, target=0.1)
    assert fit.line.slope is not None
    assert fit.line.slope_ci is not None
    if x != "round":
        assert fit.line.slope_ci[0] < -1 < fit.line.slope_ci[1]
        shift = 6 if x == "inference_compute" else 0
        assert np.log10(fit.at_target) == pytest.approx(np.log10(9) - 6 + shift, abs=0.1)  # type: ignore[arg-type]
    if x == "round":  # their compute is a power of ten of the round: against its logarithm the log-odds are bent
        assert fit.straightness is not None
        assert fit.straightness.is_bent
        assert fit.line.note.startswith("A straight line does not fit")
        assert fit.at_target_ci == (None, None)
        (fit,) = fit_efficiency(table, x, target=0.1, scale="linear")
        assert fit.line.note == ""
    low, high = fit.at_target_ci
    assert low is not None
    assert high is not None
    assert low < fit.at_target < high  # type: ignore[operator]
    middle, below, above = fit.band(np.array([fit.at_target]))
    assert middle[0] == pytest.approx(0.1)
    assert below[0] < 0.1 < above[0]


def test_efficiency_refuses_in_words() -> None:
    table = rates(Training(1, 8, 100))
    same = CountTable("t", {**table.columns, "defense": np.full(len(table), "at", dtype=object)})
    (fit,) = fit_efficiency(CountTable("t", {**same.columns, "successes": np.zeros(8, dtype=int)}))
    assert fit.line.note == "Not enough data: 0 successes in all, 4 needed."
    with pytest.raises(DataError, match="no column 'task'"):
        fit_efficiency(same, "task")
    with pytest.raises(DataError, match="not between 0 and 1"):
        fit_efficiency(same, target=1.0)
    with pytest.raises(DataError, match="the same in all rows"):
        fit_efficiency(same, "n_params")


def test_weighted_least_squares_is_that_of_repeated_points() -> None:
    x, y = np.array([0.0, 1, 2, 5]), np.array([1.0, 2, 2, 7])
    one, other = (
        weighted_least_squares(x, y, np.array([1.0, 2, 1, 3])),
        ols(x[[0, 1, 1, 2, 3, 3, 3]], y[[0, 1, 1, 2, 3, 3, 3]]),
    )
    assert one.slope == pytest.approx(other.slope)
    assert one.intercept == pytest.approx(other.intercept)


def scaled(method: str, sizes: list[int | None], slopes: list[float | None]) -> list[AttackScaling]:
    out = []
    for size, slope in zip(sizes, slopes, strict=True):
        ci = None if slope is None else (slope - 0.2, slope + 0.2)
        line = Line(slope, slope, ci, 9, "" if slope else "Not enough data: x", ci)
        out.append(AttackScaling({"task": "t", "n_params": size}, method, line, 0, 3))  # type: ignore[arg-type]
    return out


@pytest.mark.parametrize("method", ["counts", "ols"])
def test_slopes_over_sizes(method: str) -> None:
    fits = scaled(method, [10**6, 10**7, 10**8, 10**9, None, 10**5], [3.0, 2.6, 2.2, 1.8, 9.0, None])
    (fit,) = fit_size_scaling(fits)
    assert fit.line.slope == pytest.approx(-0.4)
    assert (fit.line.n, fit.dropped, fit.method) == (4, 2, method)
    (few,) = fit_size_scaling(fits[:2])
    assert few.line.note.startswith("Not enough data: 2 sizes to fit, 3 different ones needed.")


def test_sizes_may_be_counted_without_embeddings() -> None:
    fits = scaled("counts", [10**6, 10**7, 10**8, 10**9], [3.0, 2.6, 2.2, 1.8])
    without = {(None, None, 10**6): 10**5, (None, None, 10**7): 10**7, (None, None, 10**8): 10**9}
    (fit,) = fit_size_scaling(fits, "slope", without)
    assert fit.line.slope == pytest.approx(-0.2)
    assert (fit.line.n, fit.dropped, fit.to_json()["parameters"]) == (3, 1, "non-embedding")
    assert fit_size_scaling(fits)[0].to_json()["parameters"] == "all"


@pytest.mark.parametrize("command", ["attack-scaling", "size-scaling", "efficiency", "offense-defense"])
def test_commands_print_tables_and_json(command: str, tmp_path: Path) -> None:
    table = balance(never=0.1)
    path = tmp_path / "table.csv"
    names = list(table.columns)
    rows = [",".join(str(table[name][at]) for name in names) for at in range(len(table))]
    path.write_text("\n".join([",".join(names), *rows]))
    more = ["--target-asr", "0.5"] if command == "offense-defense" else []
    told = json.loads(run_command("fit", command, path, *more, "--json"))
    assert {"slope", "slope_low", "slope_high", "intercept", "n", "note", "method", "interval"} <= set(told[0])
    assert "slope" in run_command("fit", command, path, *more)
