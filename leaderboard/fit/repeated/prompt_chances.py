"""How likely an answer to a prompt is broken, over prompts: a beta distribution, which makes counts beta-binomial, and
two other shapes that tell how much hangs on that choice.

Likelihoods are worked out on grids of the parameters, so that a flat or one-sided one is seen as what it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.special import betaln, log_expit, roots_hermite

from leaderboard.arrays import Floats, Integers

_LEVELS = np.linspace(-9.0, 9.0, 73)  # log-odds: of the beta's mean, or of the typical prompt
_CONCENTRATIONS = np.linspace(-6.0, 9.0, 61)  # log of the beta's two parameters together: how alike prompts are
_SPREADS = np.linspace(-3.0, 2.5, 45)  # log of the standard deviation of log-odds
_NEVER = np.concatenate([[0.0], np.geomspace(0.01, 0.99, 24)])  # share of prompts that no answer breaks
_FINE = 45  # points of an axis when the grid is drawn closer around what is likely
_NEAR = 8.0  # log-likelihood below the best that is still looked at
_NODES, _SHARES = roots_hermite(40)
_SHARES = _SHARES / np.sqrt(np.pi)

Kinds = list[tuple[int, int, int]]
"""Broken answers, judged ones, and how many prompts have so many."""


@dataclass(frozen=True)
class Likelihood:
    """Of one shape, on a grid of G sets of parameters.

    Attributes:
        logs: log-likelihood, [G].
        none: chance that none of so many answers to a prompt is broken, [G].
    """

    logs: Floats
    none: Callable[[int], Floats]

    @property
    def weights(self) -> Floats:
        """Shares of the likelihood, [G]."""
        raw = np.exp(self.logs - self.logs.max())
        return np.asarray(raw / raw.sum())


def kinds_of(broken: Integers, judged: Integers) -> Kinds:
    """Counts of prompts, from [E] each."""
    found, counts = np.unique(np.stack([broken, judged], axis=1), axis=0, return_counts=True)
    return [(int(won), int(tried), int(count)) for (won, tried), count in zip(found, counts, strict=True)]


def beta(kinds: Kinds) -> Likelihood:
    """Chances from a beta distribution: counts are beta-binomial."""
    return _beta(kinds, _NEVER[:1])


def beta_or_never(kinds: Kinds) -> Likelihood:
    """The same for some of the prompts; the others no answer breaks."""
    return _beta(kinds, _NEVER)


def _beta(kinds: Kinds, never: Floats) -> Likelihood:
    def on_grid(levels: Floats, concentrations: Floats) -> Likelihood:
        both = np.exp(concentrations[None])
        shares = np.exp(log_expit(levels))[:, None], np.exp(log_expit(-levels))[:, None]
        a, b = ((share * both).ravel() for share in shares)
        start = betaln(a, b)
        logs = np.zeros((len(never), len(a)))
        with np.errstate(divide="ignore"):
            some = np.log1p(-never)[:, None]
            for won, tried, count in kinds:
                own = some + betaln(a + won, b + tried - won) - start
                logs += count * (own if won else np.logaddexp(np.log(never)[:, None], own))

        def none(asks: int) -> Floats:
            broken = -np.expm1(betaln(a, b + asks) - start)
            return np.asarray(1 - (1 - never)[:, None] * broken).ravel()

        return Likelihood(logs.ravel(), none)

    return _closer_grid(on_grid, _LEVELS, _CONCENTRATIONS, len(never))


def normal_log_odds(kinds: Kinds) -> Likelihood:
    """Chances whose log-odds are normal."""

    def on_grid(levels: Floats, spreads: Floats) -> Likelihood:
        centres, widths = (part.ravel() for part in np.meshgrid(levels, np.exp(spreads), indexing="ij"))
        odds = centres[:, None] + np.sqrt(2) * widths[:, None] * _NODES
        yes, no = log_expit(odds), log_expit(-odds)
        logs = np.zeros(len(centres))
        for won, tried, count in kinds:
            logs += count * np.log(np.exp(won * yes + (tried - won) * no) @ _SHARES + 1e-300)
        return Likelihood(logs, partial(_none_of_log_odds, no))

    return _closer_grid(on_grid, _LEVELS, _SPREADS, 1)


def _none_of_log_odds(no: Floats, asks: int) -> Floats:
    return np.asarray(np.exp(asks * no) @ _SHARES)


def _closer_grid(
    on_grid: Callable[[Floats, Floats], Likelihood], first: Floats, second: Floats, layers: int
) -> Likelihood:
    """The likelihood on a grid that is drawn closer around what is likely on the whole one."""
    logs = on_grid(first, second).logs.reshape(layers, len(first), len(second))
    near = (logs >= logs.max() - _NEAR).any(axis=0)
    return on_grid(_closer(first, near.any(axis=1)), _closer(second, near.any(axis=0)))


def _closer(axis: Floats, near: np.ndarray) -> Floats:
    """Points between the first and the last that is near, and one more on either side."""
    places = np.flatnonzero(near)
    return np.linspace(axis[max(places[0] - 1, 0)], axis[min(places[-1] + 1, len(axis) - 1)], _FINE)
