"""Bent lines are seen, straight ones are left alone, and no side of slope 1 is taken where the line does not fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st
from scipy.special import expit

from leaderboard.fit.likelihood.straightness import straightness_of_bounds, straightness_of_rates
from leaderboard.fit.offense_defense import fit_offense_defense
from tests.benchmarks.intervals.defenses import Balance

STUDIES = 150


def values(rng: np.random.Generator, seeds: int, bend: float) -> tuple[np.ndarray, ...]:
    """x, bounds and seeds: y is 0.8 · x + bend · x², seeds have levels of their own."""
    x, seed = np.tile(np.linspace(-1, 1, 8), seeds), np.repeat(np.arange(seeds), 8)
    y = 0.8 * x + bend * x**2 + 0.3 * rng.normal(size=seeds)[seed] + 0.15 * rng.normal(size=len(x))
    never = y > np.quantile(y, 0.85)
    return x, np.where(never, y - 0.2, y - 0.1), np.where(never, np.inf, y + 0.1), seed


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4), st.floats(-1, 1), st.floats(0.1, 50), st.floats(-9, 9))
def test_laws(number: int, seeds: int, bend: float, unit: float, zero: float) -> None:
    x, low, high, seed = values(np.random.default_rng(number), seeds, bend)
    found = straightness_of_bounds(x, low, high, seed)
    assume(found is not None)  # seldom no maximum is found; then nothing is claimed
    assert found is not None
    assert 0 <= found.p <= 1
    assert found.is_bent == bool(found.remark)
    moved = straightness_of_bounds(unit * x + zero, low + zero, high + zero, seed[::-1].max() - seed)
    assume(moved is not None)
    assert moved is not None
    assert moved.p == pytest.approx(found.p, rel=1e-3, abs=1e-6)
    assert moved.slopes == pytest.approx([slope / unit for slope in found.slopes], rel=1e-3, abs=1e-4 / unit)


@pytest.mark.parametrize("seeds", [1, 3])
def test_of_straight_lines_one_in_twenty_is_said_to_be_bent(seeds: int) -> None:
    rng, said, seen, told = np.random.default_rng(seeds), 0, 0, 0
    for _ in range(STUDIES):
        straight = straightness_of_bounds(*values(rng, seeds, 0.0))
        told += straight is not None
        bent = straightness_of_bounds(*values(rng, seeds, 0.8))
        said += straight is not None and straight.is_bent
        seen += bent is not None and bent.is_bent
    assert told >= 0.95 * STUDIES
    assert said <= 0.05 * STUDIES + 3 * (0.05 * 0.95 * STUDIES) ** 0.5
    assert seen >= 0.9 * STUDIES


def test_rates_that_scatter_are_not_taken_for_bent() -> None:
    rng, said, seen = np.random.default_rng(0), 0, 0
    x, seed, trials = np.tile(np.linspace(-1, 1, 8), 3), np.repeat(np.arange(3), 8), np.full(24, 100.0)
    for _ in range(STUDIES):
        scatter = rng.normal(size=3)[seed] * 0.5 + 0.3 * rng.normal(size=24)
        straight, bent = (
            straightness_of_rates(
                x, rng.binomial(100, expit(-2 * x + bend * x**2 + scatter)).astype(float), trials, seed
            )
            for bend in (0.0, 2.0)
        )
        said += straight is not None and straight.is_bent
        seen += bent is not None and bent.is_bent
        assert bent is not None
        assert bent.slopes[0] < bent.slopes[1]
    assert said <= 0.05 * STUDIES + 3 * (0.05 * 0.95 * STUDIES) ** 0.5
    assert seen >= 0.9 * STUDIES


def test_too_few_values_or_places_tell_nothing() -> None:
    two = np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0])
    zeros = np.zeros(7, dtype=np.int64)
    assert straightness_of_bounds(two, two, two + 0.5, zeros) is None
    x = np.arange(3.0)
    assert straightness_of_bounds(x, x, x + 1, zeros[:3]) is None
    assert straightness_of_rates(x, np.ones(3), np.full(3, 9.0), zeros[:3]) is None


def test_no_side_of_slope_1_where_the_truth_lies_on_both() -> None:
    """A line through 0.4 and then 1.2 has a slope of 0.8, and its interval lies below 1."""
    design, rng = Balance(5, 10, slopes=(0.4, 1.2), tilt=0.0), np.random.default_rng(0)
    by_line = said = bent = 0
    for _ in range(40):
        (fit,) = fit_offense_defense(design.simulate(rng), 0.5)
        assert fit.line.slope_ci is not None
        by_line += fit.line.slope_ci[1] < 1
        said += fit.against_slope_1 == "below"
        bent += fit.against_slope_1 == "line does not fit"
        assert (fit.against_slope_1 == "line does not fit") == (not fit.line_fits) == bool(fit.line.note)
    assert by_line > 30
    assert said <= 2
    assert bent > 30


def test_a_straight_line_below_1_is_still_seen() -> None:
    design, rng = replace(Balance(5, 10, tilt=0.0), slopes=(0.5, 0.5)), np.random.default_rng(0)
    fits = [fit_offense_defense(design.simulate(rng), 0.5)[0] for _ in range(40)]
    assert sum(fit.against_slope_1 == "below" for fit in fits) >= 32
