"""The likelihood: its derivatives, and the law it claims to be of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.special import expit

from leaderboard.fit.likelihood.likelihood import clustered_ends, likelihood_terms, row_scores
from leaderboard.fit.likelihood.maximum import maximize_likelihood
from leaderboard.fit.likelihood.observations import Observations

seeds = st.integers(0, 2**32 - 1)
asymptotes = st.sampled_from([None, 0.3, 0.9])


def some_rows(seed: int, clusters: int = 2, count: int = 12) -> Observations:
    rng = np.random.default_rng(seed)
    low, width = rng.normal(size=count), rng.uniform(0.1, 2, count)
    high = np.where(rng.random(count) < 0.3, np.inf, low + width)
    low = np.where((rng.random(count) < 0.3) & np.isfinite(high), -np.inf, low)
    cluster = np.sort(rng.integers(0, clusters, count))
    cluster[:clusters], cluster = np.arange(clusters), np.sort(cluster)
    weight = rng.integers(1, 5, count).astype(float)
    return Observations(low, high, weight, np.sort(cluster), np.ones((count, 1)), np.empty(0, dtype=np.int64))


@given(seeds, st.floats(0.2, 4), st.floats(-2, 2), asymptotes)
@settings(max_examples=40, deadline=None)
def test_is_the_probability_of_the_interval(seed: int, theta: float, level: float, asymptote: float | None) -> None:
    rows = some_rows(seed)
    shifts = np.array([[0.3], [-0.4]])[: rows.clusters]
    found = likelihood_terms(clustered_ends(rows), np.array([theta, level]), shifts, asymptote).value[:, 0]
    top = 1.0 if asymptote is None else asymptote
    move = level + shifts[rows.cluster, 0]
    below = [
        np.where(np.isinf(end), 0.0, expit(theta * np.where(np.isinf(end), 0, end) + move))
        for end in (rows.low, rows.high)
    ]
    share = np.where(np.isinf(rows.high), 1 - top * below[0], top * (below[1] - below[0]))
    want = np.bincount(rows.cluster, rows.weight * np.log(share))
    assert found == pytest.approx(want, rel=1e-9, abs=1e-9)


@given(seeds, st.floats(0.2, 4), st.floats(-2, 2), asymptotes)
@settings(max_examples=40, deadline=None)
def test_derivatives_are_those_of_the_value(seed: int, theta: float, level: float, asymptote: float | None) -> None:
    rows = some_rows(seed)
    data, shifts = clustered_ends(rows), np.array([[0.3], [-0.4]])[: rows.clusters]
    free = np.array([theta, level] if asymptote is None else [theta, level, np.log(asymptote / (1 - asymptote))])

    def at(free: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        top = None if asymptote is None else float(expit(free[2]))
        found = likelihood_terms(data, free[:2], shifts, top)
        return found.value[:, 0], found.score[..., 0], found.hessian[..., 0]

    _, score, hessian = at(free)
    for k in range(len(free)):
        step = np.zeros_like(free)
        step[k] = 1e-5
        up, down = at(free + step), at(free - step)
        assert score[:, k] == pytest.approx((up[0] - down[0]) / 2e-5, rel=1e-4, abs=1e-4)
        assert hessian[:, k] == pytest.approx((up[1] - down[1]) / 2e-5, rel=1e-4, abs=1e-4)
    each = row_scores(data, free[:2], shifts[:, 0], asymptote)
    for k in range(len(free)):
        assert np.bincount(rows.cluster, rows.weight * each[:, k]) == pytest.approx(score[:, k], rel=1e-7, abs=1e-7)


def test_the_integral_over_shifts_is_right() -> None:
    """The marginal likelihood at the maximum agrees with a fine sum over shifts."""
    rng = np.random.default_rng(3)
    cluster = np.repeat(np.arange(6), 30)
    shift = rng.normal(0, 1.0, 6)[cluster]
    y = (rng.logistic(size=180) - shift) / 2
    grid = np.linspace(-2, 2, 9)
    at = np.searchsorted(grid, y)
    padded = np.concatenate([[-np.inf], grid, [np.inf]])
    rows = Observations(
        padded[at], padded[at + 1], np.ones(180), cluster, np.ones((180, 1)), np.empty(0, dtype=np.int64)
    )
    data = clustered_ends(rows)
    found = maximize_likelihood(data, np.array([1.0, 0.0]))
    assert found is not None
    assert 0.3 < found.spread < 3
    fine = np.linspace(-8, 8, 4001)
    logs = likelihood_terms(data, found.beta, np.tile(fine, (6, 1)), None).value - fine**2 / (2 * found.spread**2)
    top = logs.max(axis=1, keepdims=True)
    width = (fine[1] - fine[0]) / (found.spread * np.sqrt(2 * np.pi))
    want = float((top[:, 0] + np.log(np.exp(logs - top).sum(axis=1) * width)).sum())
    assert found.value == pytest.approx(want, abs=1e-3)
