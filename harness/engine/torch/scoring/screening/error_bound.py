"""Which candidates may be among the best, judging by losses in lower precision and some exact ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from harness.tokens.tokenizer import Floats

PAIRS = 8
"""How many candidates are scored both ways at least, to measure the error with."""

_CHANCE = 1e-4  # that a candidate's exact loss is below its bound, if errors are normal


class Screened(NamedTuple):
    """What is known of the candidates.

    Attributes:
        possible: those without an exact loss that may be among the best, [K].
        bounds: what their exact losses are not below, [K], in nats.
    """

    possible: NDArray[np.bool_]
    bounds: Floats


def screen(reduced: Floats, exact: Floats, known: NDArray[np.bool_], best: int) -> Screened:
    """Look for candidates that may be among the ``best`` lowest.

    The error is taken to be a shift that all candidates of a request have in common, and a normal part of each one's
    own. The shift is the median over the known ones; the bound is the lower end of the prediction interval for the
    rest, by Student's t with as many degrees of freedom as they give.

    Args:
        reduced: losses in lower precision, [K]; those that are not finite tell nothing.
        exact: losses where ``known``, [K].
        known: at least one; with fewer than `best`, or of too few that tell something, everything is possible.
        best: from 1 to K.
    """
    told = known & np.isfinite(reduced) & np.isfinite(exact)
    bounds = np.full(len(reduced), -np.inf)
    if known.all() or known.sum() < best or told.sum() < min(PAIRS, len(reduced)):
        return Screened(~known, bounds)
    errors = exact[told] - reduced[told]
    usable = np.isfinite(reduced)
    deviations = -stdtrit(len(errors) - 1, _CHANCE) * np.sqrt(1 + 1 / len(errors))
    bounds[usable] = reduced[usable] + np.median(errors) - deviations * errors.std(ddof=1)
    worst = np.partition(np.where(np.isnan(exact[known]), np.inf, exact[known]), best - 1)[best - 1]
    return Screened(~known & ~(bounds > worst), bounds)


def first_to_score(reduced: Floats, best: int) -> NDArray[np.int64]:
    """The candidates to score exactly before anything else: the lowest, those that tell nothing, and some others, since
    the lowest were picked by their errors as well; sorted.
    """
    order = np.argsort(np.where(np.isfinite(reduced), reduced, -np.inf), kind="stable")
    lowest = best - 1 + PAIRS // 2 + int((~np.isfinite(reduced)).sum())
    rest = order[lowest:]
    others = rest[np.linspace(0, len(rest) - 1, min(PAIRS - PAIRS // 2, len(rest))).astype(int)]
    return np.sort(np.concatenate([order[:lowest], others]))


def lowest_of(possible: NDArray[np.bool_], reduced: Floats) -> NDArray[np.int64]:
    """Of the possible candidates those to score next, sorted: few at a time, since each makes the bound tighter."""
    at = np.flatnonzero(possible)
    return np.sort(at[np.argsort(reduced[at], kind="stable")[:PAIRS]])
