"""Saturation is tested by likelihoods at their own maxima, seed by seed, and no interval flips where it is unsure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import binom, chi2

from leaderboard.fit.attack_scaling import fit_attack_scaling
from leaderboard.fit.likelihood.first_successes import first_successes_of_counts
from leaderboard.fit.likelihood.likelihood import clustered_ends
from leaderboard.fit.likelihood.log_odds import SATURATION_P, SURE_P, UNSURE_P, fit_log_odds
from leaderboard.fit.likelihood.maximum import maximize_likelihood
from leaderboard.fit.likelihood.observations import Observations
from leaderboard.fit.likelihood.saturation import maximize_saturating, plain_start, saturation_p
from tests.benchmarks.intervals.attacks import Study, fit_study, simulate


def observations(study: Study, number: int) -> Observations:
    """Of one simulated study, y counted from about the middle."""
    table, *_ = simulate(study, np.random.default_rng(number))
    found = first_successes_of_counts(table).observations
    return replace(found, low=found.low + 3.3, high=found.high + 3.3)


def highest(rows: Observations, seed: int, saturates: bool) -> float:
    """The likelihood of one seed at its maximum, found by a simplex that knows nothing of derivatives."""
    own = rows.cluster == seed
    low, high, weight = rows.low[own], rows.high[own], rows.weight[own]

    def loss(free: np.ndarray) -> float:
        top = expit(free[2]) if saturates else 1.0
        below, above = (
            top * expit(np.exp(free[0]) * np.nan_to_num(end, neginf=-1e9, posinf=1e9) + free[1]) for end in (low, high)
        )
        above = np.where(np.isinf(high), 1.0, above)
        return -float(weight @ np.log(np.maximum(above - below, 1e-300)))

    starts = [[1.5, 0.0, 4.0][: 2 + saturates], [1.5, 1.0, 0.0][: 2 + saturates], [0.5, -1.0, 1.0][: 2 + saturates]]
    options = {"maxiter": 8000, "maxfev": 8000, "xatol": 1e-8, "fatol": 1e-10}
    return max(-minimize(loss, start, method="Nelder-Mead", options=options).fun for start in starts)


@pytest.mark.parametrize("number", range(6))
def test_compares_what_is_attainable(number: int) -> None:
    """Not values at spreads that were estimated otherwise."""
    top = 1.0 if number < 3 else 0.7
    rows = observations(Study(3, 80, 15, 0.9 * top, spread=0.24, slope_spread=0.4, asymptote=top), number)
    ratio = sum(max(0.0, 2 * (highest(rows, seed, True) - highest(rows, seed, False))) for seed in range(3))
    want = 1.0 if ratio < 1e-6 else float(sum(binom.pmf(k, 3, 0.5) * chi2.sf(ratio, k) for k in (1, 2, 3)))
    assert saturation_p(rows) == pytest.approx(want, rel=0.02, abs=1e-6)


@pytest.mark.parametrize("seeds", [1, 3, 10])
def test_is_rarely_seen_where_there_is_none_and_seeds_differ_in_slope(seeds: int) -> None:
    study, rng, said = Study(seeds, 60, 20, 0.8, spread=0.24, slope_spread=0.49), np.random.default_rng(seeds), 0
    for _ in range(100):
        fit = fit_study(study, rng)
        said += fit.asymptote is not None
    assert said <= 4


def test_where_saturation_is_unsure_the_interval_holds_both_curves_slopes() -> None:
    """On both sides of the threshold at which the curve itself changes: no claim flips with it."""
    study, below, above = Study(1, 120, 25, 0.62, asymptote=0.8), 0, 0
    for number in range(150):
        rows = observations(study, number)
        curve = fit_log_odds(rows)
        assert curve is not None
        assert (curve.asymptote is not None) == (curve.saturation_p < SATURATION_P)
        if not SURE_P <= curve.saturation_p < 0.05:
            assert not curve.spans_both or curve.saturation_p < UNSURE_P
            continue
        data = clustered_ends(rows)
        plain = maximize_likelihood(data, plain_start(data))
        assert plain is not None
        saturating = maximize_saturating(data, plain)
        assert saturating is not None
        assert curve.spans_both
        slopes = [maximum.beta[0] / np.log(10) for maximum in (plain, saturating)]
        assert curve.slope_ci[0] < min(slopes)
        assert max(slopes) < curve.slope_ci[1]
        below += curve.saturation_p < SATURATION_P
        above += curve.saturation_p >= SATURATION_P
    assert below >= 5
    assert above >= 5


def test_what_is_unsure_is_said() -> None:
    notes = []
    for number in range(40):
        table, *_ = simulate(Study(1, 120, 25, 0.62, asymptote=0.8), np.random.default_rng(number))
        (fit,) = fit_attack_scaling(table, "counts")
        assert fit.curve is not None
        assert fit.curve.spans_both == fit.line.note.startswith("It is undecided whether the curve saturates (p = ")
        notes.append(fit.line.note)
    assert any(notes)
    assert not all(notes)


def test_seeds_that_differ_in_slope_are_said_to() -> None:
    for spread, least, most in ((0.0, 0, 2), (0.8, 27, 30)):
        rng, said = np.random.default_rng(0), 0
        for _ in range(30):
            told = fit_study(Study(5, 100, 20, 0.8, slope_spread=spread), rng)
            assert told.curve is not None
            assert told.curve.slopes is not None
            said += "Seeds differ in slope, by a factor of" in told.line.note
            assert told.to_json()["slopes_differ_p"] == told.curve.slopes.p
        assert least <= said <= most
