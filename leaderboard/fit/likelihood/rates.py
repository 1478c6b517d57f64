"""Log-odds linear in y, fitted to rates of separate trials."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import expit, stdtrit

from leaderboard.arrays import Floats, Integers
from leaderboard.fit.likelihood.likelihood import clustered_ends
from leaderboard.fit.likelihood.log_odds import LogOddsCurve, curve_at_maximum
from leaderboard.fit.likelihood.maximum import maximize_likelihood
from leaderboard.fit.likelihood.observations import Observations
from leaderboard.fit.likelihood.uncertainty import uncertainty
from leaderboard.fit.seed_spread import MAX_LEVEL_SD, MAX_ROUND_SLOPE_SD


def fit_rates(y: Floats, successes: Floats, trials: Floats, seed: Integers) -> LogOddsCurve | None:
    """The fit to rates ``successes`` / ``trials`` [N] at ``y`` [N], of seeds numbered from 0: separate trials, whose
    rates may scatter more than chance has it; no saturation. None when no maximum was found.
    """
    centre, scale = float(y.mean()), float(np.std(y))
    standardized, unbounded = (y - centre) / scale, np.full(len(y), np.inf)
    weight = np.concatenate([successes, trials - successes])
    kept = weight > 0
    observations = Observations(
        low=np.concatenate([-unbounded, standardized])[kept],
        high=np.concatenate([standardized, unbounded])[kept],
        weight=weight[kept],
        cluster=np.tile(seed, 2)[kept],
        design=np.ones((2 * len(y), 1))[kept],
        example=np.empty(0, dtype=np.int64),
    )
    design = np.column_stack([standardized, np.ones(len(y))])
    dispersion, freedom = 1.0, 1  # Pearson's dispersion, and its degrees of freedom
    while True:
        data = clustered_ends(replace(observations, weight=observations.weight / dispersion))
        maximum = maximize_likelihood(data, np.zeros(2))
        if maximum is None:
            return None
        if dispersion > 1:
            break
        freedom = max(1, len(y) - 2 - (data.clusters - 1 if maximum.spread else 0))
        p = expit(design @ maximum.beta + maximum.terms.shift[seed])
        dispersion = float(((successes - trials * p) ** 2 / (trials * p * (1 - p))).sum()) / freedom
        if dispersion <= 1:
            break
    largest_spread = [MAX_ROUND_SLOPE_SD * abs(float(maximum.beta[0])), MAX_LEVEL_SD]
    rate_uncertainty = uncertainty(maximum, data, largest_spread, floor=False)
    if dispersion > 1:
        rate_uncertainty = rate_uncertainty.with_quantile(float(stdtrit(freedom, 0.975)))
    factors = np.array([1 / scale, 1.0])
    return curve_at_maximum(
        replace(maximum, parameters=maximum.parameters * factors),
        rate_uncertainty.rescaled(factors),
        centre,
        1.0,
        nested=False,
    )
