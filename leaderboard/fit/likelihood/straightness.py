"""Do values lie on a straight line in x, or on a bent one? Of some it is known only between which bounds they lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, fdtrc

from leaderboard.arrays import Floats, Integers
from leaderboard.fit.likelihood.likelihood import clustered_ends
from leaderboard.fit.likelihood.maximum import Maximum, maximize_likelihood
from leaderboard.fit.likelihood.observations import Observations

BENT_P = 0.05  # below this p-value a line is said not to fit


@dataclass(frozen=True)
class Straightness:
    """A straight line against a parabola.

    Attributes:
        p: p-value of the line.
        slopes: of the parabola, at the smallest and at the largest x.
    """

    p: float
    slopes: tuple[float, float]

    @property
    def is_bent(self) -> bool:
        """Whether the line does not fit."""
        return self.p < BENT_P

    @property
    def remark(self) -> str:
        """That the line does not fit, and how it bends, or ""."""
        if not self.is_bent:
            return ""
        first, last = self.slopes
        return (
            f"A straight line does not fit (p = {self.p:.2g}): the slope is about {first:.2f} at the smallest x and "
            f"{last:.2f} at the largest."
        )


def straightness_of_bounds(x: Floats, low: Floats, high: Floats, seed: Integers) -> Straightness | None:
    """Of y on x [N], where low < y <= high [N] (-inf and inf allowed). None where too few values are known from above,
    or no maximum was found.

    Each seed has its own level, so that no spread between seeds comes into the comparison. The likelihood ratio is
    taken as the F ratio that it is for normal errors: there are few values.
    """
    known = int(np.isfinite(high).sum())
    parabola = _Parabola(x, seed)
    freedom = known - 2 - parabola.seeds
    if freedom < 1 or not parabola.can_be_told:
        return None
    median_y = float(np.median(np.concatenate([low[np.isfinite(low)], high[np.isfinite(high)]])))
    middle = np.where(np.isfinite(low), low / 2 + high / 2, high)
    line = curve = None
    # Values nearer to a line than their bounds tell have no maximum: then they are taken as the middle of these.
    for lower, upper in (
        (low, high),
        (np.where(np.isfinite(high), middle, low), np.where(np.isinf(high), high, middle)),
    ):
        lower = np.where(lower == upper, upper - 1e-6, lower)  # a hair between bounds that coincide is the density
        line, curve = (
            _maximum(lower - median_y, upper - median_y, np.ones_like(x), design, 4.0) for design in parabola.designs
        )
        if line is not None and curve is not None:
            break
    if line is None or curve is None or curve.beta[0] <= 0:
        return None
    gain = max(0.0, 2 * (curve.value - line.value))
    p = float(fdtrc(1, freedom, float(np.expm1(gain / known)) * freedom))
    return Straightness(p, parabola.end_slopes(-curve.beta[2] / curve.beta[0], -curve.beta[3] / curve.beta[0]))


def straightness_of_rates(x: Floats, successes: Floats, trials: Floats, seed: Integers) -> Straightness | None:
    """Of the log-odds (natural) of rates ``successes`` / ``trials`` [N] on x [N]; they may scatter more than chance has
    it. None where there are too few of them, or no maximum was found.
    """
    parabola = _Parabola(x, seed)
    freedom = len(x) - 2 - parabola.seeds
    if freedom < 1 or not parabola.can_be_told:
        return None
    weight = np.concatenate([successes, trials - successes])
    kept, unbounded = weight > 0, np.full(len(x), np.inf)
    low, high = np.concatenate([-unbounded, parabola.place]), np.concatenate([parabola.place, unbounded])
    line, curve = (
        # The first coefficient is that of the ends, which are the places themselves.
        _maximum(low[kept], high[kept], weight[kept], np.tile(np.delete(design, 1, axis=1), (2, 1))[kept], 0.0)
        for design in parabola.designs
    )
    if line is None or curve is None:
        return None
    design = parabola.designs[1]
    rate = expit(design @ np.concatenate([curve.beta[1:2], curve.beta[:1], curve.beta[2:]]))
    chance = trials * rate * (1 - rate)
    dispersion = max(1.0, float(((successes - trials * rate) ** 2 / np.maximum(chance, 1e-9)).sum()) / freedom)
    ratio = max(0.0, 2 * (curve.value - line.value)) / dispersion
    return Straightness(
        float(fdtrc(1, freedom, ratio)), parabola.end_slopes(float(curve.beta[0]), float(curve.beta[2]))
    )


class _Parabola:
    """Designs of a line and of a parabola in standardized x, with a level for each seed; [N, P] each."""

    def __init__(self, x: Floats, seed: Integers) -> None:
        names, cluster = np.unique(seed, return_inverse=True)
        self.seeds, self.scale = len(names), float(np.std(x)) or 1.0
        self.place = (x - x.mean()) / self.scale
        square = self.place**2 - float((self.place**2).mean())
        levels = (cluster[:, None] == np.arange(1, self.seeds)).astype(np.float64)
        one = np.ones_like(x)
        self.designs = [np.column_stack([one, *columns, levels]) for columns in ([self.place], [self.place, square])]

    @property
    def can_be_told(self) -> bool:
        """From a line, which takes three places."""
        return len(np.unique(self.place.round(9))) > 2

    def end_slopes(self, tilt: float, turn: float) -> tuple[float, float]:
        first, last = float(self.place.min()), float(self.place.max())
        return (tilt + 2 * turn * first) / self.scale, (tilt + 2 * turn * last) / self.scale


def _maximum(low: Floats, high: Floats, weight: Floats, design: Floats, theta: float) -> Maximum | None:
    one_cluster, unknown = np.zeros(len(low), dtype=np.int64), np.empty(0, dtype=np.int64)
    data = clustered_ends(Observations(low, high, weight, one_cluster, design, unknown))
    return maximize_likelihood(data, np.concatenate([[theta], np.zeros(design.shape[1])]))
