"""Do seeds differ in slope? Told by what one slope for all of them leaves over."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc

from leaderboard.fit.likelihood.likelihood import ClusteredEnds, likelihood_terms
from leaderboard.fit.likelihood.maximum import Maximum

MIN_EVENTS = 5  # successes of a seed that can tell a slope
STEPS = 8  # of Newton's method, to each seed's own level


@dataclass(frozen=True)
class SlopeSpread:
    """Attributes:
    p: p-value of equal slopes.
    spread: standard deviation of the logarithms of the seeds' slopes, beyond what chance has.
    """

    p: float
    spread: float


def slope_spread(maximum: Maximum, data: ClusteredEnds) -> SlopeSpread | None:
    """A score test (Rao 1948): each seed at its own best level, how hard its data pull at the common slope. None where
    fewer than two seeds tell a slope.
    """
    used = data.events >= MIN_EVENTS
    if used.sum() < 2 or maximum.beta[0] <= 0:
        return None
    shift = maximum.terms.shift.copy()
    for _ in range(STEPS):
        terms = likelihood_terms(data, maximum.beta, shift[:, None], maximum.asymptote)
        curvature = np.minimum(terms.hessian[:, 1, 1, 0], -1e-6)
        shift = shift - np.clip(terms.score[:, 1, 0] / curvature, -1.0, 1.0)
    terms = likelihood_terms(data, maximum.beta, shift[:, None], maximum.asymptote)
    score, information = terms.score[used, :2, 0], -terms.hessian[used][:, :2, :2, 0]
    regression = information[:, 0, 1] / information[:, 1, 1]
    pull = score[:, 0] - regression * score[:, 1]
    slope_information = information[:, 0, 0] - regression * information[:, 0, 1]
    if not (slope_information > 0).all():
        return None
    ratio = float((pull**2 / slope_information).sum() - pull.sum() ** 2 / slope_information.sum())
    moves = pull / slope_information / maximum.beta[0]
    by_chance = float((1 / slope_information).mean() / maximum.beta[0] ** 2)
    beyond = float(moves.var(ddof=1)) - by_chance
    return SlopeSpread(float(chdtrc(len(pull) - 1, max(ratio, 0.0))), max(0.0, beyond) ** 0.5)
