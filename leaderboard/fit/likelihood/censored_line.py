"""A straight line through values of which some are known only to lie between two bounds, or beyond one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from leaderboard.arrays import Floats, Integers
from leaderboard.fit.likelihood.likelihood import clustered_ends
from leaderboard.fit.likelihood.maximum import maximize_likelihood
from leaderboard.fit.likelihood.observations import Observations
from leaderboard.fit.likelihood.uncertainty import Uncertainty, uncertainty
from leaderboard.fit.line import Band, Line
from leaderboard.fit.seed_spread import MAX_COST_SD, MAX_ROUND_SLOPE_SD

MAX_HALF_INTERVAL = 1e4  # an interval so wide tells nothing


@dataclass(frozen=True)
class CensoredLine:
    """A fitted line.

    Attributes:
        line: with intervals; n counts all values.
        mean_x: of the values.
        error: scale of a value's logistic error, in units of y.
        spread: standard deviation of the seeds' shifts, in units of y.
        beta: [3], the parameters of the likelihood's maximum; ``uncertainty`` is theirs.
    """

    line: Line
    mean_x: float
    error: float
    spread: float
    beta: Floats
    uncertainty: Uncertainty

    def band(self, x: Floats) -> Band:
        """The line at ``x``."""
        assert self.line.slope is not None
        assert self.line.intercept is not None
        middle = self.line.intercept + self.line.slope * x
        half = self.uncertainty.half_interval(_height_gradient(self.beta, x - self.mean_x))
        return middle, middle - half, middle + half


def fit_censored_line(x: Floats, low: Floats, high: Floats, seed: Integers) -> CensoredLine | None:
    """The line of y on x [N], where low < y <= high [N] (-inf and inf allowed); None when no maximum was found.

    Maximum likelihood with logistic errors, an accelerated failure time model, and a normal shift for each seed.
    """
    mean_x = float(x.mean())
    median_y = float(np.median(np.concatenate([low[np.isfinite(low)], high[np.isfinite(high)]])))
    seeds, cluster = np.unique(seed, return_inverse=True)
    design = np.column_stack([np.ones_like(x), x - mean_x])
    # Bounds that coincide are values known exactly; a hair between them is the density.
    low = np.where(low == high, high - 1e-6, low)
    unknown_examples = np.empty(0, dtype=np.int64)
    data = clustered_ends(
        Observations(low - median_y, high - median_y, np.ones_like(x), cluster, design, unknown_examples)
    )
    maximum = maximize_likelihood(data, np.array([4.0, 0.0, 0.0]))
    if maximum is None or maximum.beta[0] <= 0:
        return None
    known = int(np.isfinite(high).sum())
    freedom = max(1, known - 2 if len(seeds) < 2 else known - 1 - len(seeds))
    # The scale's estimate is short of as many degrees of freedom as the line takes.
    quantile = float(stdtrit(freedom, 0.975)) * (known / freedom) ** 0.5
    theta, level, tilt = (float(value) for value in maximum.beta)
    largest_spread = [0.0, MAX_COST_SD * theta, MAX_ROUND_SLOPE_SD * max(abs(tilt), 0.5 * theta)]
    line_uncertainty = uncertainty(maximum, data, largest_spread).with_quantile(quantile)
    slope, height = -tilt / theta, median_y - level / theta
    slope_gradient = np.array([tilt / theta, 0.0, -1.0]) / theta
    halves = line_uncertainty.half_interval(
        np.stack([slope_gradient, _height_gradient(maximum.beta, np.array(-mean_x))])
    )
    if not halves.max() < MAX_HALF_INTERVAL:
        return None
    half_slope, half_intercept = (float(half) for half in halves)
    intercept = height - slope * mean_x
    line = Line(
        slope,
        intercept,
        (slope - half_slope, slope + half_slope),
        len(x),
        intercept_ci=(intercept - half_intercept, intercept + half_intercept),
    )
    return CensoredLine(line, mean_x, 1 / theta, maximum.spread / theta, maximum.beta, line_uncertainty)


def _height_gradient(beta: Floats, x: Floats) -> Floats:
    """Derivatives in θ, γ0, γ1 of the line's height −(γ0 + γ1·x) / θ at ``x`` from the mean."""
    one = np.ones_like(x)
    gradient: Floats = np.stack([(beta[1] + beta[2] * x) / beta[0], -one, -x], axis=-1) / beta[0]
    return gradient
