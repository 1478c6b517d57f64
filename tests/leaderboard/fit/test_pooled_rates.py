"""Rates over seeds: their intervals are over seeds and examples, and hold the mean of all seeds like these."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.stats import binomtest

from leaderboard.fit.pooled_rates import pooled_rate, pooled_rates, rate_bounds, shared_example_variance
from tests.benchmarks.intervals.simulated_seeds import seed_rates

tries = st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
STUDIES = 2000


@given(tries)
def test_one_seed_is_wilsons_interval(pair: tuple[int, int]) -> None:
    won, tried = pair
    rate = pooled_rate([won], [tried])
    want = binomtest(won, tried).proportion_ci(method="wilson")
    assert rate is not None
    assert rate.seeds == 1
    assert (rate.low, rate.high) == pytest.approx((want.low, want.high), abs=1e-9)


@given(st.lists(tries, min_size=2, max_size=6), st.randoms())
def test_laws(pairs: list[tuple[int, int]], random: object) -> None:
    won, tried = zip(*pairs, strict=True)
    rate, mirrored = pooled_rate(won, tried), pooled_rate([n - k for k, n in pairs], tried)
    backwards = pooled_rate(won[::-1], tried[::-1])
    assert rate is not None
    assert mirrored is not None
    assert backwards is not None
    assert 0 <= rate.low <= rate.value <= rate.high <= 1
    assert (backwards.low, backwards.high) == pytest.approx((rate.low, rate.high))
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((rate.low, rate.high))
    alone = binomtest(rate.successes, rate.trials).proportion_ci(method="wilson")
    assert rate.high - rate.low >= 0.9 * (alone.high - alone.low)


def test_seeds_that_differ_widen_the_interval() -> None:
    alike, apart = pooled_rate([50, 50], [100, 100]), pooled_rate([20, 80], [100, 100])
    assert alike is not None
    assert apart is not None
    assert apart.high - apart.low > 2 * (alike.high - alike.low)
    assert apart.seeds == 2


def test_seeds_without_a_trial_count_for_nothing() -> None:
    assert pooled_rates(np.zeros((2, 3), dtype=np.int64), [0, 0]) == []
    assert pooled_rate([3, 0], [10, 0]) == pooled_rate([3], [10])


def test_the_same_examples_in_each_seed_are_one_draw_of_examples() -> None:
    rng = np.random.default_rng(0)
    won = rng.random((40, 1)) < 0.5
    names = [f"e{at}" for at in range(40)]
    assert shared_example_variance([names, [f"other {name}" for name in names]], [won, won]) == 0
    shared = shared_example_variance([names] * 5, [won] * 5)
    rate = pooled_rate([int(won.sum())] * 5, [40] * 5, shared)
    (once,) = pooled_rates(won.sum(axis=0, keepdims=True), [40])
    assert rate is not None
    assert rate.high - rate.low == pytest.approx(once.high - once.low, rel=0.1)  # not 1 / √5 of it


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize("examples", [32, 100])
def test_intervals_hold_the_mean_of_seeds_that_differ_as_the_quickstarts_do(seeds: int, examples: int) -> None:
    rng = np.random.default_rng(seeds)
    held = []
    for mean in (0.2, 0.5, 0.8):
        won = rng.binomial(examples, seed_rates(rng, (seeds, STUDIES), mean, 0.56)).astype(float)
        low, high = rate_bounds(won, np.full(seeds, float(examples)))
        held.append(float(((low <= mean) & (mean <= high)).mean()))
    assert 0.93 <= np.mean(held) <= 0.98
    assert min(held) > 0.92
