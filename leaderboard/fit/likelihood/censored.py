"""A straight line through values of which some are known only to lie between two bounds, or beyond one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from leaderboard.fit.likelihood.likelihood import blocks
from leaderboard.fit.likelihood.maximum import maximise
from leaderboard.fit.likelihood.rows import CountRows, Floats
from leaderboard.fit.likelihood.uncertainty import Uncertainty, uncertainty
from leaderboard.fit.line import Line

MOST_ERROR = 1e4  # an interval so wide tells nothing


@dataclass(frozen=True)
class Censored:
    """A fitted line.

    Attributes:
        line: with intervals; n counts all values.
        centre: mean x of the values.
        error: scale of a value's logistic error, in units of y.
        spread: standard deviation of the seeds' shifts, in units of y.
    """

    line: Line
    centre: float
    error: float
    spread: float
    beta: Floats
    doubt: Uncertainty

    def band(self, x: Floats) -> tuple[Floats, Floats, Floats]:
        """The line at ``x`` with its pointwise 95% interval: (middle, low, high)."""
        assert self.line.slope is not None
        assert self.line.intercept is not None
        middle = self.line.intercept + self.line.slope * x
        half = self.doubt.half(_directions(self.beta, x - self.centre))
        return middle, middle - half, middle + half


def fit_censored(x: Floats, low: Floats, high: Floats, seed: NDArray[np.int64]) -> Censored | None:
    """The line of y on x [N], where low < y <= high [N] (-inf and inf allowed); None when no maximum was found.

    Maximum likelihood with logistic errors, an accelerated failure time model, and a normal shift for each seed.
    """
    centre, middle = float(x.mean()), float(np.median(np.concatenate([low[np.isfinite(low)], high[np.isfinite(high)]])))
    names, cluster = np.unique(seed, return_inverse=True)
    design = np.column_stack([np.ones_like(x), x - centre])
    # Bounds that coincide are values known exactly; a hair between them is the density.
    low = np.where(low == high, high - 1e-6, low)
    data = blocks(CountRows(low - middle, high - middle, np.ones_like(x), cluster, design, np.empty(0, dtype=np.int64)))
    found = maximise(data, np.array([4.0, 0.0, 0.0]))
    if found is None or found.beta[0] <= 0:
        return None
    known = int(np.isfinite(high).sum())
    free = max(1, known - 2 if len(names) < 2 else known - 1 - len(names))
    # The scale's estimate is short of as many degrees of freedom as the line takes.
    doubt = uncertainty(found, data).scaled(float(stdtrit(free, 0.975)) * (known / free) ** 0.5)
    theta, level_shift, tilt = (float(value) for value in found.beta)
    slope, level = -tilt / theta, middle - level_shift / theta
    ends = doubt.half(
        np.stack([np.array([tilt / theta, 0.0, -1.0]) / theta, _directions(found.beta, np.array(-centre))])
    )
    if not ends.max() < MOST_ERROR:
        return None
    intercept = level - slope * centre
    line = Line(
        slope,
        intercept,
        (slope - float(ends[0]), slope + float(ends[0])),
        len(x),
        intercept_ci=(intercept - float(ends[1]), intercept + float(ends[1])),
    )
    return Censored(line, centre, 1 / theta, found.spread / theta, found.beta, doubt)


def _directions(beta: Floats, x: Floats) -> Floats:
    """Derivatives in θ, γ0, γ1 of the line's height −(γ0 + γ1·x) / θ at ``x`` from the centre."""
    one = np.ones_like(x)
    out: Floats = np.stack([(beta[1] + beta[2] * x) / beta[0], -one, -x], axis=-1) / beta[0]
    return out
