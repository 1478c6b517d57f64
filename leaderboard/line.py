"""A straight line through points, with an interval for its slope."""

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
    """

    slope: float | None
    intercept: float | None
    slope_ci: tuple[float, float] | None
    n: int
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """JSON data: slope, intercept, slope_ci as [low, high], n, note. Never NaN."""
        return {
            "slope": self.slope,
            "intercept": self.intercept,
            "slope_ci": None if self.slope_ci is None else list(self.slope_ci),
            "n": self.n,
            "note": self.note,
        }


def ols(x: Floats, y: Floats) -> Line:
    """Ordinary least squares of ``y`` [n] on ``x`` [n], all finite.

    The 95% interval is the textbook one, slope ± t(n − 2) · standard error: it takes the points as independent and
    equally noisy. Steps of one example, and examples of one seed, are neither, so on attack curves it is too narrow.
    """
    n = len(x)
    if n < MIN_POINTS:
        return Line(None, None, None, n, f"Not enough data: {_points(n)} to fit, {MIN_POINTS} needed.")
    centred = x - x.mean()
    spread = float(centred @ centred)
    # Rounding noise in the mean is not a spread: the points must differ in more than their last digits.
    if spread <= n * (1e-12 * max(1.0, float(np.abs(x).max()))) ** 2:
        return Line(None, None, None, n, f"Not enough data: all {n} points have the same compute.")
    slope = float(centred @ (y - y.mean())) / spread
    intercept = float(y.mean()) - slope * float(x.mean())
    residuals = y - y.mean() - slope * centred
    error = float(np.sqrt(residuals @ residuals / (n - 2) / spread))
    half = float(stdtrit(n - 2, 0.975)) * error
    return Line(slope, intercept, (slope - half, slope + half), n)


def _points(n: int) -> str:
    return "no point" if n == 0 else f"{n} point" + ("s" if n > 1 else "")
