"""Laws of least squares, and of the curve at which a target is first reached."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.stats import linregress, t as student

from leaderboard.data.count_table import CountTable, make_count_table
from leaderboard.fit.attack_scaling import fit_attack_scaling
from leaderboard.fit.crossing import first_crossing
from leaderboard.fit.line import ols

reals = st.floats(-20, 20, allow_nan=False)
abscissas = st.lists(st.integers(-2000, 2000), min_size=3, max_size=40, unique=True).map(
    lambda v: np.array(v, dtype=float) / 100
)


@given(abscissas, reals, reals)
def test_an_exact_line_is_recovered(x: np.ndarray, slope: float, intercept: float) -> None:
    line = ols(x, intercept + slope * x)
    assert line.slope == pytest.approx(slope, abs=1e-6)
    assert line.intercept == pytest.approx(intercept, abs=1e-5)
    assert line.slope_ci is not None
    assert line.slope_ci[0] <= line.slope <= line.slope_ci[1]  # type: ignore[operator]


@given(abscissas, st.integers(0, 2**32 - 1))
def test_agrees_with_scipy(x: np.ndarray, seed: int) -> None:
    y = np.random.default_rng(seed).normal(size=len(x))
    line, other = ols(x, y), linregress(x, y)
    half = student.ppf(0.975, len(x) - 2) * other.stderr
    assert line.slope == pytest.approx(other.slope, rel=1e-6, abs=1e-8)
    assert line.slope_ci == pytest.approx((other.slope - half, other.slope + half), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("x", [[], [1.0], [1.0, 2.0], [2.0, 2.0, 2.0], [0.1 + 0.2, 0.3, 0.3]])
def test_too_little_data_is_said_and_never_nan(x: list[float]) -> None:
    line = ols(np.array(x), np.arange(len(x), dtype=float))
    assert (line.slope, line.intercept, line.slope_ci) == (None, None, None)
    assert line.note.startswith("Not enough data: ")


def table(won: np.ndarray, compute: np.ndarray) -> CountTable:
    """One curve of 1,000 trials."""
    n = len(won)
    text = {name: np.full(n, name, dtype=object) for name in ("task", "family", "attack")}
    whole = {"n_params": np.full(n, 5), "seed": np.zeros(n, dtype=int), "iteration": np.arange(n)}
    return make_count_table(
        "t", text | whole | {"trials": np.full(n, 1000), "successes": won, "attack_compute": compute}
    )


@given(st.integers(3, 30), st.floats(-12, 6), st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_another_unit_of_compute_moves_the_intercept_alone(n: int, shift: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    won, compute = rng.integers(1, 1000, n), np.sort(rng.uniform(1e-9, 1e-6, n))
    before = fit_attack_scaling(table(won, compute), "ols")[0].line
    after = fit_attack_scaling(table(won, compute * 10**shift), "ols")[0].line
    if before.slope is None or before.intercept is None:
        return
    assert after.slope == pytest.approx(before.slope, rel=1e-6, abs=1e-6)
    assert after.intercept == pytest.approx(before.intercept - before.slope * shift, rel=1e-6, abs=1e-4)


def test_points_at_0_and_1_and_at_no_compute_are_dropped_and_counted() -> None:
    won = np.array([10, 0, 100, 300, 600, 1000])
    fit = fit_attack_scaling(table(won, np.array([0.0, 1, 2, 3, 4, 5])), "ols")[0]
    assert (fit.line.n, fit.dropped) == (3, 3)


def test_a_group_that_cannot_be_fitted_says_why() -> None:
    fit = fit_attack_scaling(table(np.zeros(4, dtype=int), np.arange(4.0)), "ols")[0].to_json()
    assert fit["slope"] is None
    assert fit["note"] == (
        "Not enough data: no point to fit, 3 needed. Of 4 points 4 are at ASR 0, 0 at ASR 1, 1 at no compute."
    )


def test_first_reach_by_hand() -> None:
    compute, asr = np.array([1.0, 2, 4]), np.array([0.1, 0.2, 0.6])
    assert first_crossing(compute, asr, 0.4) == pytest.approx(3.0)
    assert first_crossing(compute, asr, 0.05) == pytest.approx(0.5)  # from no compute and no success
    assert first_crossing(compute, asr, 0.2) == pytest.approx(2.0)
    assert np.isinf(first_crossing(compute, asr, 0.61))
    assert np.isinf(first_crossing(np.empty(0), np.empty(0), 0.5))


def test_first_reach_is_the_first_of_a_curve_that_falls_again() -> None:
    assert first_crossing(np.array([1.0, 2, 3, 4]), np.array([0.5, 0.1, 0.1, 0.9]), 0.5) == pytest.approx(1.0)


@given(st.integers(1, 20), st.integers(0, 2**32 - 1), st.floats(0.01, 1))
def test_first_reach_scales_with_compute(n: int, seed: int, target: float) -> None:
    rng = np.random.default_rng(seed)
    compute, asr = rng.uniform(0, 1, n).cumsum(), np.sort(rng.uniform(0, 1, n))
    once, twice = first_crossing(compute, asr, target), first_crossing(2 * compute, asr, target)
    assert twice == pytest.approx(2 * float(once))
    assert np.isinf(once) == (asr[-1] < target)
