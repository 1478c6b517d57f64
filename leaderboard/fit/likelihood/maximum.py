"""Maximum likelihood for intervals from several clusters: a logistic law with a random intercept for each cluster.

Newton's method by hand: with a spread, quadrature is centred again and the restricted score is added at each step, so
that there is no one function to give to scipy.optimize; without one, its methods took 1.3 to 1.6 times as long.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from leaderboard.arrays import Floats
from leaderboard.fit.likelihood.likelihood import ClusteredEnds
from leaderboard.fit.likelihood.marginal import (
    MarginalTerms,
    marginal_with_spread,
    marginal_without_spread,
    posterior_modes,
)

MAX_STEPS = 60
TOLERANCE = 1e-6  # the gain in log-likelihood that is left when the climb ends
MIN_EIGENVALUE = 1e-8  # smallest eigenvalue of a correlation matrix that is still told from 0
MIN_SPREAD = 0.02  # of the shifts, in natural log-odds: less cannot be told from none


@dataclass(frozen=True)
class Maximum:
    """Where the likelihood is highest.

    Attributes:
        parameters: [p], θ, the coefficients of the design and, where it was free, logit of the asymptote.
        size: how many of them are coefficients.
        spread: standard deviation of the clusters' shifts, natural log-odds; 0 when none was found.
        value: log-likelihood.
        information: [p, p], of ``parameters``.
        terms: of the clusters.
    """

    parameters: Floats
    size: int
    spread: float
    value: float
    information: Floats
    terms: MarginalTerms

    @property
    def beta(self) -> Floats:
        """The coefficients, θ first."""
        return self.parameters[: self.size]

    @property
    def asymptote(self) -> float | None:
        """None where it was held at 1."""
        return _asymptote(self.parameters, self.size)


def maximize_likelihood(
    data: ClusteredEnds, start: Floats, asymptote: float | None = None, near: Maximum | None = None
) -> Maximum | None:
    """The maximum, from coefficients ``start`` and, when it is not to be held at 1, an ``asymptote``; None when none
    was found. ``near``: a maximum whose spread to start from.
    """
    parameters = start if asymptote is None else np.append(start, logit(asymptote))
    if near is not None and near.spread:
        maximum = _maximize_with_spread(data, parameters, len(start), near.spread)
        if maximum is not None:
            return maximum
    pooled = _maximize_without_spread(data, parameters, len(start))
    if pooled is None or data.clusters < 2:
        return pooled
    spread = _initial_spread(pooled.terms)
    if spread == 0:
        return pooled
    return _maximize_with_spread(data, pooled.parameters, len(start), spread) or pooled


def _maximize_without_spread(data: ClusteredEnds, parameters: Floats, size: int) -> Maximum | None:
    highest, step, damping = -np.inf, np.zeros_like(parameters), 1.0
    for _ in range(MAX_STEPS):
        candidate = parameters + damping * step
        terms = marginal_without_spread(data, candidate[:size], _asymptote(candidate, size))
        value = float(terms.value.sum())
        if not value >= highest - 1e-9:  # NaN too
            damping /= 2
            if damping < 1e-6:
                return None
            continue
        parameters, highest, damping = candidate, value, 1.0
        score, information = terms.score.sum(axis=0), -terms.hessian.sum(axis=0)
        step = _newton_step(score, information)
        if abs(score @ step) < TOLERANCE:
            maximum = Maximum(parameters, size, 0.0, highest, information, terms)
            return maximum if _is_strict(information) else None
        step /= _overshoot(step, parameters, size, data)
    return None


def _maximize_with_spread(data: ClusteredEnds, parameters: Floats, size: int, spread: float) -> Maximum | None:
    shift, shift_sd = posterior_modes(data, parameters[:size], _asymptote(parameters, size), spread)
    parameters = np.append(parameters, np.log(spread))
    for _ in range(MAX_STEPS):
        asymptote = _asymptote(parameters[:-1], size)
        terms = marginal_with_spread(data, parameters[:size], asymptote, parameters[-1], shift, shift_sd)
        shift, shift_sd = terms.shift, terms.shift_sd
        score, information = terms.score.sum(axis=0), -terms.hessian.sum(axis=0)
        score[-1] += _restricted_score(terms.shift_sd, float(np.exp(2 * parameters[-1])))
        step = _newton_step(score, information)
        if abs(score @ step) < TOLERANCE:
            value, inner = float(terms.value.sum()), information[:-1, :-1]
            maximum = Maximum(parameters[:-1], size, float(np.exp(parameters[-1])), value, inner, terms)
            return maximum if _is_strict(inner) else None
        parameters = parameters + step / _overshoot(step, parameters, size, data)
        if not parameters[-1] > np.log(MIN_SPREAD):
            return None
    return None


def _restricted_score(shift_sd: Floats, variance: float) -> float:
    """What restricted likelihood adds to the score of the log spread; without it the spread of few clusters comes out
    too small.
    """
    total = variance**2 / np.maximum(variance - shift_sd**2, 1e-12 * variance)
    return float(variance * (total**-2).sum() / (1 / total).sum())


def _initial_spread(terms: MarginalTerms) -> float:
    """A first spread by moments, 0 when the clusters differ no more than chance has them."""
    score, information = terms.score[:, 1], -terms.hessian[:, 1, 1]
    squares = float((information**2).sum())
    excess = float((score**2 - information).sum()) + squares / float(information.sum())
    return max(0.05, float(np.sqrt(excess / squares))) if excess > 0 else 0.0


def _asymptote(parameters: Floats, size: int) -> float | None:
    return float(expit(parameters[size])) if len(parameters) > size else None


def _is_strict(information: Floats) -> bool:
    """Whether the likelihood falls to all sides: at a flat place, or on a ridge that leads to infinity, it does not."""
    scale = np.sqrt(np.abs(np.diag(information)))
    return bool(scale.min() > 0 and np.linalg.eigvalsh(information / np.outer(scale, scale))[0] > MIN_EIGENVALUE)


def _newton_step(score: Floats, information: Floats) -> Floats:
    """A Newton step, turned uphill where the likelihood is not concave; 0 where it is flat to all sides."""
    values, vectors = np.linalg.eigh(information)
    if not values.any():
        return np.zeros_like(score)
    values = np.maximum(np.abs(values), 1e-4 * np.abs(values).max())
    step: Floats = vectors @ ((vectors.T @ score) / values)
    return step


def _overshoot(step: Floats, parameters: Floats, size: int, data: ClusteredEnds) -> float:
    """By how much a step is too long: intervals with two ends need θ above 0, logarithms move by little at a time."""
    limit = max(1.0, float(np.abs(step[size:]).max(initial=0.0)))
    return max(limit, -float(step[0]) / (0.7 * float(parameters[0]))) if data.has_two_ends else limit
