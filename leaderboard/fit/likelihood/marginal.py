"""What each cluster adds to the likelihood once its own shift is integrated out.

The shift is normal around 0. The integral is taken by Gauss-Hermite quadrature around the shift's posterior mean
(Naylor and Smith 1982); score and Hessian are exact for that sum (Louis 1982).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from leaderboard.arrays import Floats
from leaderboard.fit.likelihood.likelihood import ClusteredEnds, likelihood_terms

NODES = 7
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(NODES)
_LOG_WEIGHTS = np.log(_WEIGHTS) + _NODES**2 / 2 - 0.5 * np.log(2 * np.pi)


@dataclass(frozen=True)
class MarginalTerms:
    """S clusters at given parameters, p of them (with a spread, its logarithm is the last).

    Attributes:
        value: [S], log-likelihood.
        score: [S, p].
        hessian: [S, p, p].
        inner_hessian: [S, p', p'], of all but the spread at a known shift, averaged over the shift's posterior.
        shift: [S], posterior mean of the shift, and ``shift_sd`` [S] its standard deviation.
    """

    value: Floats
    score: Floats
    hessian: Floats
    inner_hessian: Floats
    shift: Floats
    shift_sd: Floats


def marginal_without_spread(data: ClusteredEnds, beta: Floats, asymptote: float | None) -> MarginalTerms:
    """Clusters without shifts of their own."""
    zero = np.zeros(data.clusters)
    terms = likelihood_terms(data, beta, zero[:, None], asymptote)
    hessian = terms.hessian[..., 0]
    return MarginalTerms(terms.value[:, 0], terms.score[..., 0], hessian, hessian, zero, zero)


def marginal_with_spread(
    data: ClusteredEnds, beta: Floats, asymptote: float | None, log_spread: float, shift: Floats, shift_sd: Floats
) -> MarginalTerms:
    """Clusters whose shifts are integrated around ``shift`` [S] with scales ``shift_sd`` [S]."""
    shifts = shift[:, None] + shift_sd[:, None] * _NODES
    terms = likelihood_terms(data, beta, shifts, asymptote)
    square = shifts**2 * np.exp(-2 * log_spread)
    logs = terms.value - square / 2 - log_spread + np.log(shift_sd)[:, None] + _LOG_WEIGHTS
    # Sum and shares at once, which scipy's logsumexp and softmax would take two passes for.
    largest = logs.max(axis=1, keepdims=True)
    posterior = np.exp(logs - largest)
    total = posterior.sum(axis=1, keepdims=True)
    posterior /= total
    scores = np.concatenate([terms.score, square[:, None] - 1], axis=1)
    weighted = scores * posterior[:, None]
    score = weighted.sum(axis=2)
    inner_hessian = (terms.hessian * posterior[:, None, None]).sum(axis=3)
    hessian = weighted @ scores.transpose(0, 2, 1) - score[:, :, None] * score[:, None, :]
    hessian[:, :-1, :-1] += inner_hessian
    hessian[:, -1, -1] -= 2 * (square * posterior).sum(axis=1)
    mean = (shifts * posterior).sum(axis=1)
    sd = np.sqrt(((shifts - mean[:, None]) ** 2 * posterior).sum(axis=1))
    value = (largest + np.log(total))[:, 0]
    return MarginalTerms(value, score, hessian, inner_hessian, mean, np.maximum(sd, 1e-6))


def posterior_modes(data: ClusteredEnds, beta: Floats, asymptote: float | None, spread: float) -> tuple[Floats, Floats]:
    """Where the posteriors of the shifts have their modes, [S], and their scales there, [S]: three Newton steps of all
    clusters at once, which is near enough for quadrature that centres itself.
    """
    mode, curvature = np.zeros(data.clusters), np.zeros(data.clusters)
    for _ in range(3):
        terms = likelihood_terms(data, beta, mode[:, None], asymptote)
        # With an asymptote the likelihood alone may bend the wrong way.
        curvature = np.minimum(terms.hessian[:, 1, 1, 0], 0.0) - spread**-2
        mode = mode - (terms.score[:, 1, 0] - mode * spread**-2) / curvature
    return mode, (-curvature) ** -0.5
