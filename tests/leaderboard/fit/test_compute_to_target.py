"""The interval of the compute to a target holds the truth of seeds that differ, and changes with nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from leaderboard.fit.compute_to_target import compute_to_target, curves_of_seeds
from leaderboard.fit.crossing import first_crossing
from tests.benchmarks.intervals.simulated_seeds import Seeds


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6), st.sampled_from([0.02, 0.3, 0.5, 1.0]), st.integers(1, 3))
def test_laws(number: int, seeds: int, target: float, attacks: int) -> None:
    rng = np.random.default_rng(number)
    curves = [Seeds(float(rng.uniform(0.05, 0.95)), steps=8).draw(rng, seeds, 20) for _ in range(attacks)]
    at, low, high = compute_to_target(curves, target)
    assert low <= at <= high
    dearer = [replace(curve, compute=curve.compute * 1e12) for curve in curves]
    np.testing.assert_allclose(compute_to_target(dearer, target), [1e12 * each for each in (at, low, high)])
    assert compute_to_target(curves[::-1], target) == (at, low, high)
    alone = [compute_to_target([curve], target) for curve in curves]
    assert at == min(each[0] for each in alone)
    assert high >= min(each[2] for each in alone)  # the cheapest of several may be so by chance


@pytest.mark.parametrize(("seeds", "examples"), [(2, 32), (3, 32), (3, 100), (5, 32), (10, 32)])
def test_intervals_hold_the_cost_of_seeds_that_differ_as_the_quickstarts_do(seeds: int, examples: int) -> None:
    made, rng, held = Seeds(0.8, level=0.56, tilt=0.4), np.random.default_rng(seeds), 0
    truth = float(first_crossing(made.compute, made.mean(), 0.5))
    for _ in range(400):
        _, low, high = compute_to_target([made.draw(rng, seeds, examples)], 0.5)
        held += low <= truth <= high
    assert held >= 0.92 * 400  # a percentile bootstrap held it in 84 to 89%


@pytest.mark.parametrize("seeds", [2, 5, 10])
def test_where_searches_stop_at_success_the_compute_is_a_draw_too(seeds: int) -> None:
    """Hard seeds are broken late and have spent more by then: with compute taken as known 80 to 90% are held."""
    made, rng, held = Seeds(0.6, level=0.56, tilt=0.4, stops=True), np.random.default_rng(seeds), 0
    truth = float(first_crossing(made.mean_compute(), made.mean(), 0.5))
    for _ in range(300):
        _, low, high = compute_to_target([made.draw(rng, seeds, 32)], 0.5)
        held += low <= truth <= high
    assert held >= 0.92 * 300


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4), st.booleans())
def test_curves_of_seeds_are_the_pooled_ones(number: int, seeds: int, alike: bool) -> None:
    rng = np.random.default_rng(number)
    counts = rng.integers(1, 8, seeds)
    broken = [np.logical_or.accumulate(rng.random((n, 6)) < 0.2, axis=1) for n in counts]
    spent = [(np.ones((n, 6)) if alike else rng.random((n, 6))).cumsum(axis=1) for n in counts]
    names = [[f"e{at}" for at in range(n)] for n in counts]
    curves = curves_of_seeds(names, broken, spent)
    np.testing.assert_allclose(curves.asr, np.concatenate(broken).mean(axis=0))
    np.testing.assert_allclose(curves.compute, np.concatenate(spent).mean(axis=0))
    assert not alike or curves.deviations is None
    if curves.deviations is not None:
        np.testing.assert_allclose(curves.deviations.sum(axis=0), 0, atol=1e-9)
        assert (curves.noise >= 1).all()  # type: ignore[union-attr]
    low, high = curves.bounds()
    assert (low <= curves.asr + 1e-12).all()
    assert (curves.asr <= high + 1e-12).all()
