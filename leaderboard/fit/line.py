"""A straight line through points, with intervals for its slope and intercept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtrit

from leaderboard.arrays import Floats

MIN_POINTS = 3  # two points leave no degree of freedom for an interval
Interval = tuple[float, float]
Band = tuple[Floats, Floats, Floats]
"""A fitted curve with its pointwise 95% interval: (middle, low, high)."""


class HalfIntervals(NamedTuple):
    """Half of the 95% intervals of the line's height at ``x`` and of its slope, which are independent at that x."""

    x: float
    height: float
    slope: float


@dataclass(frozen=True)
class Line:
    """y = intercept + slope · x.

    Attributes:
        slope: None when there was not enough data; then ``note`` says what is missing.
        intercept: None likewise.
        slope_ci: (low, high), 95%.
        n: how many points the line was fitted to.
        note: what the reader should know, or "".
        intercept_ci: (low, high), 95%.
        halves: None where the interval is not of this form.
    """

    slope: float | None
    intercept: float | None
    slope_ci: Interval | None
    n: int
    note: str = ""
    intercept_ci: Interval | None = None
    halves: HalfIntervals | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON data: slope, intercept, their intervals (``slope_ci`` as [low, high] too), n, note. Never NaN."""
        slope_low, slope_high = self.slope_ci or (None, None)
        intercept_low, intercept_high = self.intercept_ci or (None, None)
        return {
            "slope": self.slope,
            "slope_low": slope_low,
            "slope_high": slope_high,
            "intercept": self.intercept,
            "intercept_low": intercept_low,
            "intercept_high": intercept_high,
            "slope_ci": None if self.slope_ci is None else list(self.slope_ci),
            "n": self.n,
            "note": self.note,
        }

    def band(self, x: Floats) -> Band:
        """The line at ``x``. Needs a slope and ``halves``."""
        assert self.slope is not None
        assert self.intercept is not None
        assert self.halves is not None
        middle = self.intercept + self.slope * x
        half = np.sqrt(self.halves.height**2 + (self.halves.slope * (x - self.halves.x)) ** 2)
        return middle, middle - half, middle + half


def unfitted(n: int, reason: str) -> Line:
    """No line through ``n`` points, and why."""
    return Line(None, None, None, n, f"Not enough data: {reason}")


def ols(x: Floats, y: Floats) -> Line:
    """Ordinary least squares of ``y`` [n] on ``x`` [n], all finite.

    The 95% intervals are the textbook ones, with t(n − 2): they take the points as independent and equally noisy. Steps
    of one example, and examples of one seed, are neither, so on attack curves they are too narrow.
    """
    return weighted_least_squares(x, y, np.ones(len(x)))


def weighted_least_squares(x: Floats, y: Floats, weights: Floats) -> Line:
    """Least squares of ``y`` on ``x`` with weights [n] that are inverse variances up to a factor, which the residuals
    tell.
    """
    # By hand: linregress takes no weights, and polyfit does not see that all points have the same x.
    n = len(x)
    if n < MIN_POINTS:
        return unfitted(n, f"{counted_points(n)} to fit, {MIN_POINTS} needed.")
    share = weights / weights.sum()
    mean_x, mean_y = float(share @ x), float(share @ y)
    centred = x - mean_x
    variance = float(share @ centred**2)
    # Rounding noise in the mean is not a spread: the points must differ in more than their last digits.
    if variance <= (1e-12 * max(1.0, float(np.abs(x).max()))) ** 2:
        return unfitted(n, f"all {n} points have the same x.")
    slope = float(share @ (centred * (y - mean_y))) / variance
    residuals = y - mean_y - slope * centred
    error = float(np.sqrt(share @ residuals**2 / (n - 2)))
    half_height = float(stdtrit(n - 2, 0.975)) * error
    half_slope = half_height / float(np.sqrt(variance))
    intercept, half_intercept = mean_y - slope * mean_x, float(np.hypot(half_height, half_slope * mean_x))
    return Line(
        slope,
        intercept,
        (slope - half_slope, slope + half_slope),
        n,
        intercept_ci=(intercept - half_intercept, intercept + half_intercept),
        halves=HalfIntervals(mean_x, half_height, half_slope),
    )


def counted_points(n: int) -> str:
    """``no point``, ``1 point``, ``2 points``."""
    return "no point" if n == 0 else f"{n} point" + ("s" if n > 1 else "")
