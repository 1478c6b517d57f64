"""What each cluster adds to the likelihood once its own shift is integrated out.

The shift is normal around 0. The integral is taken by Gauss-Hermite quadrature around the shift's posterior mean
(Naylor and Smith 1982); score and Hessian are exact for that sum (Louis 1982).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from leaderboard.fit.likelihood.likelihood import Blocks, terms
from leaderboard.fit.likelihood.rows import Floats

NODES = 7
_PLACES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(NODES)
_LOG_WEIGHTS = np.log(_WEIGHTS) + _PLACES**2 / 2 - 0.5 * np.log(2 * np.pi)


@dataclass(frozen=True)
class Parts:
    """S clusters at given parameters, p of them (with a spread, its logarithm is the last).

    Attributes:
        value: [S], log-likelihood.
        score: [S, p].
        hessian: [S, p, p].
        inner: [S, p', p'], Hessian of all but the spread at a known shift, averaged over the shift's posterior.
        mean: [S], posterior mean of the shift, and ``error`` [S] its standard deviation.
    """

    value: Floats
    score: Floats
    hessian: Floats
    inner: Floats
    mean: Floats
    error: Floats


def unshifted(blocks: Blocks, beta: Floats, asymptote: float | None) -> Parts:
    """Clusters without shifts of their own."""
    zero = np.zeros(len(blocks.ends))
    at = terms(blocks, beta, zero[:, None], asymptote)
    hessian = at.hessian[..., 0]
    return Parts(at.value[:, 0], at.score[..., 0], hessian, hessian, zero, zero)


def shifted(
    blocks: Blocks, beta: Floats, asymptote: float | None, log_spread: float, mean: Floats, error: Floats
) -> Parts:
    """Clusters whose shifts are integrated around ``mean`` [S] with scales ``error`` [S]."""
    shifts = mean[:, None] + error[:, None] * _PLACES
    at = terms(blocks, beta, shifts, asymptote)
    square = shifts**2 * np.exp(-2 * log_spread)
    logs = at.value - square / 2 - log_spread + np.log(error)[:, None] + _LOG_WEIGHTS
    top = logs.max(axis=1, keepdims=True)
    weights = np.exp(logs - top)
    total = weights.sum(axis=1, keepdims=True)
    weights /= total
    scores = np.concatenate([at.score, square[:, None] - 1], axis=1)
    weighted = scores * weights[:, None]
    score = weighted.sum(axis=2)
    inner = (at.hessian * weights[:, None, None]).sum(axis=3)
    hessian = weighted @ scores.transpose(0, 2, 1) - score[:, :, None] * score[:, None, :]
    hessian[:, :-1, :-1] += inner
    hessian[:, -1, -1] -= 2 * (square * weights).sum(axis=1)
    found = (shifts * weights).sum(axis=1)
    wide = np.sqrt(((shifts - found[:, None]) ** 2 * weights).sum(axis=1))
    return Parts((top + np.log(total))[:, 0], score, hessian, inner, found, np.maximum(wide, 1e-6))


def around(blocks: Blocks, beta: Floats, asymptote: float | None, spread: float) -> tuple[Floats, Floats]:
    """Where the posteriors of the shifts have their modes, [S], and their scales there, [S]."""
    mode, bend = np.zeros(len(blocks.ends)), np.zeros(len(blocks.ends))
    for _ in range(3):
        at = terms(blocks, beta, mode[:, None], asymptote)
        # With an asymptote the likelihood alone may bend the wrong way.
        bend = np.minimum(at.hessian[:, 1, 1, 0], 0.0) - spread**-2
        mode = mode - (at.score[:, 1, 0] - mode * spread**-2) / bend
    return mode, (-bend) ** -0.5
