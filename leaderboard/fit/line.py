"""A straight line through points, with intervals for its slope and intercept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]
MIN_POINTS = 3  # two points leave no degree of freedom for an interval


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
        scatter: (x, half of the 95% interval of y there, half of the slope's): both are independent at that x. None
            where the interval is not of this form.
    """

    slope: float | None
    intercept: float | None
    slope_ci: tuple[float, float] | None
    n: int
    note: str = ""
    intercept_ci: tuple[float, float] | None = None
    scatter: tuple[float, float, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON data: slope, intercept, their intervals (``slope_ci`` as [low, high] too), n, note. Never NaN."""
        slope, intercept = self.slope_ci or (None, None), self.intercept_ci or (None, None)
        return {
            "slope": self.slope,
            "slope_low": slope[0],
            "slope_high": slope[1],
            "intercept": self.intercept,
            "intercept_low": intercept[0],
            "intercept_high": intercept[1],
            "slope_ci": None if self.slope_ci is None else list(self.slope_ci),
            "n": self.n,
            "note": self.note,
        }

    def band(self, x: Floats) -> tuple[Floats, Floats, Floats]:
        """The line at ``x`` with its pointwise 95% interval: (middle, low, high). Needs a slope and ``scatter``."""
        assert self.slope is not None
        assert self.intercept is not None
        assert self.scatter is not None
        centre, level, tilt = self.scatter
        middle = self.intercept + self.slope * x
        half = np.sqrt(level**2 + (tilt * (x - centre)) ** 2)
        return middle, middle - half, middle + half


def ols(x: Floats, y: Floats) -> Line:
    """Ordinary least squares of ``y`` [n] on ``x`` [n], all finite.

    The 95% intervals are the textbook ones, with t(n − 2): they take the points as independent and equally noisy. Steps
    of one example, and examples of one seed, are neither, so on attack curves they are too narrow.
    """
    return weighted(x, y, np.ones(len(x)))


def weighted(x: Floats, y: Floats, weights: Floats) -> Line:
    """Least squares of ``y`` on ``x`` with weights [n] that are inverse variances up to a factor, which the residuals
    tell.
    """
    n = len(x)
    if n < MIN_POINTS:
        return Line(None, None, None, n, f"Not enough data: {points(n)} to fit, {MIN_POINTS} needed.")
    share = weights / weights.sum()
    centre, level = float(share @ x), float(share @ y)
    centred = x - centre
    spread = float(share @ centred**2)
    # Rounding noise in the mean is not a spread: the points must differ in more than their last digits.
    if spread <= (1e-12 * max(1.0, float(np.abs(x).max()))) ** 2:
        return Line(None, None, None, n, f"Not enough data: all {n} points have the same x.")
    slope = float(share @ (centred * (y - level))) / spread
    residuals = y - level - slope * centred
    error = float(np.sqrt(share @ residuals**2 / (n - 2)))
    half = float(stdtrit(n - 2, 0.975)) * error
    tilt = half / float(np.sqrt(spread))
    intercept, wide = level - slope * centre, float(np.hypot(half, tilt * centre))
    return Line(
        slope,
        intercept,
        (slope - tilt, slope + tilt),
        n,
        intercept_ci=(intercept - wide, intercept + wide),
        scatter=(centre, half, tilt),
    )


def points(n: int) -> str:
    """``no point``, ``1 point``, ``2 points``."""
    return "no point" if n == 0 else f"{n} point" + ("s" if n > 1 else "")
