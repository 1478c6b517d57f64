"""Maximum likelihood for intervals from several clusters: a logistic law with a random intercept for each cluster."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from leaderboard.fit.likelihood.likelihood import Blocks
from leaderboard.fit.likelihood.marginal import Parts, around, shifted, unshifted
from leaderboard.fit.likelihood.rows import Floats

STEPS = 60
CLOSE = 1e-6  # the gain in log-likelihood that is left when the climb ends
FLAT = 1e-8  # smallest eigenvalue of a correlation matrix that is still told from 0
LEAST_SPREAD = 0.02  # of the shifts, in natural log-odds: less cannot be told from none


@dataclass(frozen=True)
class Maximum:
    """Where the likelihood is highest.

    Attributes:
        free: [p], θ, the coefficients of the design and, where it was free, logit of the asymptote.
        size: how many of them are coefficients.
        spread: standard deviation of the clusters' shifts, natural log-odds; 0 when none was found.
        value: log-likelihood.
        information: [p, p], of ``free``.
        parts: the clusters.
    """

    free: Floats
    size: int
    spread: float
    value: float
    information: Floats
    parts: Parts

    @property
    def beta(self) -> Floats:
        return self.free[: self.size]

    @property
    def asymptote(self) -> float | None:
        return _asymptote(self.free, self.size)


def maximise(
    blocks: Blocks, start: Floats, asymptote: float | None = None, near: Maximum | None = None
) -> Maximum | None:
    """The maximum, from coefficients ``start`` and, when it is not to be held at 1, an ``asymptote``; None when none
    was found. ``near``: a maximum whose spread to start from.
    """
    free = start if asymptote is None else np.append(start, logit(asymptote))
    if near is not None and near.spread:
        found = _with_spread(blocks, free, len(start), near.spread)
        if found is not None:
            return found
    pooled = _without_spread(blocks, free, len(start))
    if pooled is None or blocks.clusters < 2:
        return pooled
    spread = _first_spread(pooled.parts)
    if spread == 0:
        return pooled
    return _with_spread(blocks, pooled.free, len(start), spread) or pooled


def _without_spread(blocks: Blocks, free: Floats, size: int) -> Maximum | None:
    best, step, damping = -np.inf, np.zeros_like(free), 1.0
    for _ in range(STEPS):
        trial = free + damping * step
        parts = unshifted(blocks, trial[:size], _asymptote(trial, size))
        value = float(parts.value.sum())
        if not value >= best - 1e-9:  # NaN too
            damping /= 2
            if damping < 1e-6:
                return None
            continue
        free, best, damping = trial, value, 1.0
        score, information = parts.score.sum(axis=0), -parts.hessian.sum(axis=0)
        step = _step(score, information)
        if abs(score @ step) < CLOSE:
            return Maximum(free, size, 0.0, best, information, parts) if _curved(information) else None
        step /= _overshoot(step, free, size, blocks)
    return None


def _with_spread(blocks: Blocks, free: Floats, size: int, spread: float) -> Maximum | None:
    mean, error = around(blocks, free[:size], _asymptote(free, size), spread)
    free = np.append(free, np.log(spread))
    for _ in range(STEPS):
        known = _asymptote(free[:-1], size)
        parts = shifted(blocks, free[:size], known, free[-1], mean, error)
        mean, error = parts.mean, parts.error
        score, information = parts.score.sum(axis=0), -parts.hessian.sum(axis=0)
        score[-1] += _restricted(parts.error, float(np.exp(2 * free[-1])))
        step = _step(score, information)
        if abs(score @ step) < CLOSE:
            value, inside = float(parts.value.sum()), information[:-1, :-1]
            found = Maximum(free[:-1], size, float(np.exp(free[-1])), value, inside, parts)
            return found if _curved(inside) else None
        free = free + step / _overshoot(step, free, size, blocks)
        if not free[-1] > np.log(LEAST_SPREAD):
            return None
    return None


def _restricted(error: Floats, variance: float) -> float:
    """What restricted likelihood adds to the score of the log spread; without it the spread of few clusters comes out
    too small.
    """
    total = variance**2 / np.maximum(variance - error**2, 1e-12 * variance)
    return float(variance * (total**-2).sum() / (1 / total).sum())


def _first_spread(parts: Parts) -> float:
    """A first spread by moments, 0 when the clusters differ no more than chance has them."""
    shift, bend = parts.score[:, 1], -parts.hessian[:, 1, 1]
    square = float((bend**2).sum())
    excess = float((shift**2 - bend).sum()) + square / float(bend.sum())
    return max(0.05, float(np.sqrt(excess / square))) if excess > 0 else 0.0


def _asymptote(free: Floats, size: int) -> float | None:
    return float(expit(free[size])) if len(free) > size else None


def _curved(information: Floats) -> bool:
    """Whether the likelihood falls to all sides: at a flat place, or on a ridge that leads to infinity, it does not."""
    scale = np.sqrt(np.abs(np.diag(information)))
    return bool(scale.min() > 0 and np.linalg.eigvalsh(information / np.outer(scale, scale))[0] > FLAT)


def _step(score: Floats, information: Floats) -> Floats:
    """A Newton step, turned uphill where the likelihood is not concave."""
    values, vectors = np.linalg.eigh(information)
    values = np.maximum(np.abs(values), 1e-4 * np.abs(values).max())
    step: Floats = vectors @ ((vectors.T @ score) / values)
    return step


def _overshoot(step: Floats, free: Floats, size: int, blocks: Blocks) -> float:
    """By how much a step is too long: intervals with two ends need θ above 0, logarithms move by little at a time."""
    limit = max(1.0, float(np.abs(step[size:]).max(initial=0.0)))
    return max(limit, -float(step[0]) / (0.7 * float(free[0]))) if blocks.bounded else limit
