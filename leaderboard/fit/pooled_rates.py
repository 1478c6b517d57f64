"""Rates over several seeds, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from leaderboard.arrays import Booleans, Floats, Integers
from leaderboard.fit.seed_spread import MAX_LEVEL_SD, UPPER, half_interval_squared

SMOOTHING = 2.0  # successes and failures added to a rate that stands for its variance (Agresti and Coull 1998)


@dataclass(frozen=True)
class Rate:
    """A share of trials with its 95% interval.

    Attributes:
        successes: of all seeds together.
        trials: of all seeds together, at least 1.
        low: lower end.
        high: upper end.
        seeds: how many have a trial. With one, the interval is over the examples of this one model and says nothing of
            another that was trained the same way.
    """

    successes: int
    trials: int
    low: float
    high: float
    seeds: int

    @property
    def value(self) -> float:
        """The share itself."""
        return self.successes / self.trials


def pooled_rate(successes: Sequence[int], trials: Sequence[int], shared: Floats | float = 0.0) -> Rate | None:
    """The rate over seeds pooled, one entry per seed; None without a trial. Interval as for `pooled_rates`."""
    rates = pooled_rates(np.array(successes, dtype=np.int64).reshape(-1, 1), trials, shared)
    return rates[0] if rates else None


def pooled_rates(successes: Integers | Floats, trials: Sequence[int], shared: Floats | float = 0.0) -> list[Rate]:
    """The rate at each of T steps over S seeds pooled; empty without a trial. Intervals are `rate_bounds`.

    Args:
        successes: [S, T].
        trials: [S], the same at all steps.
        shared: [T], see `shared_example_variance`.
    """
    tried = np.array(trials, dtype=np.float64)
    used = tried > 0
    if not used.any():
        return []
    won = np.asarray(successes[used], dtype=np.float64)
    low, high = rate_bounds(won, tried[used], shared)
    total, seeds = int(tried.sum()), int(used.sum())
    counts = won.sum(axis=0).tolist()
    return [
        Rate(round(count), total, float(below), float(above), seeds)
        for count, below, above in zip(counts, low, high, strict=True)
    ]


def rate_bounds(
    successes: Floats,
    trials: Floats,
    shared: Floats | float = 0.0,
    level: float = UPPER,
    deviations: Floats | None = None,
    noise: Floats | float = 1.0,
) -> tuple[Floats, Floats]:
    """Interval for the mean rate of all seeds like these, at each of T steps: (low [T], high [T]).

    Wilson's score interval (Wilson 1927) with the variance of `half_interval_squared`: seeds are clusters. With one
    seed it is over the examples of this one model.

    Args:
        successes: [S, T].
        trials: [S], above 0.
        shared: [T], see `shared_example_variance`.
        level: the quantile at the upper end.
        deviations: [S, T], what each seed's sum is off by, where that is not its successes' alone.
        noise: [T], how many times larger than that of a success the variance of an example's share in them is.
    """
    seeds, total, won = len(trials), float(trials.sum()), successes.sum(axis=0)
    share, z = won / total, float(ndtri(level))
    if seeds < 2:
        return wilson_bounds(share, np.full(won.shape, z * z / total) * noise)
    variance = smoothed_variance(won, total)
    between, examples_alone = variance_between_seeds(successes, trials, deviations), variance * noise / total
    largest = examples_alone + (MAX_LEVEL_SD * variance) ** 2 * noise / seeds
    square = half_interval_squared(between, examples_alone, largest, seeds, shared, level)
    low, high = wilson_bounds(share, square / variance)
    # Seeds scatter more the nearer rates are to one half: the end on that side is taken as they would scatter there.
    nearer = wilson_bounds(share, z * z * np.maximum(between, examples_alone) / variance)
    excess = (square - z * z * examples_alone) / variance**2
    down, up = (
        wilson_bounds(share, z * z * noise / total + excess * end * (1 - end))[side] for side, end in enumerate(nearer)
    )
    return np.where(share > 0.5, np.minimum(low, down), low), np.where(share < 0.5, np.maximum(high, up), high)


def wilson_bounds(share: Floats, width: Floats) -> tuple[Floats, Floats]:
    """Wilson's interval for a share whose squared half interval is ``width`` · share · (1 − share)."""
    centre = (share + width / 2) / (1 + width)
    half = np.sqrt(width * share * (1 - share) + width * width / 4) / (1 + width)
    # At the ends the exact bound is the share itself; rounding would miss it.
    low = np.where(share == 0, 0.0, np.maximum(centre - half, 0.0))
    return low, np.where(share == 1, 1.0, np.minimum(centre + half, 1.0))


def smoothed_variance(successes: Floats, trials: float) -> Floats:
    """share · (1 − share) of ``successes`` [T] of ``trials``, kept away from 0 at the ends; [T]."""
    share = (successes + SMOOTHING) / (trials + 2 * SMOOTHING)
    return share * (1 - share)


def variance_between_seeds(successes: Floats, trials: Floats, deviations: Floats | None = None) -> Floats:
    """Variance of the pooled rate, as S seeds (two or more) show it; [T] from [S, T] successes of [S] trials, or from
    their ``deviations`` [S, T].
    """
    seeds, total = len(trials), float(trials.sum())
    if deviations is None:
        deviations = successes - successes.sum(axis=0) / total * trials[:, None]
    found: Floats = (deviations**2).sum(axis=0) * seeds / (seeds - 1) / total**2
    return found


def shared_example_variance(
    examples: Sequence[Sequence[str]], successes: Sequence[Booleans] | Sequence[Floats]
) -> Floats | float:
    """What the variance of the pooled rate gains because seeds have examples in common, [T]; 0 where they have none.

    The covariances of one example's outcomes in two seeds, each counted from its seed's own rate (Cameron, Gelbach and
    Miller 2011).

    Args:
        examples: of each seed, E names.
        successes: of each seed, [E, T].
    """
    index_of = {name: at for at, name in enumerate(sorted(set().union(*map(set, examples))))}
    total = sum(len(names) for names in examples)
    if len(index_of) == total:
        return 0.0
    steps = successes[0].shape[1]
    sums, squares = np.zeros((len(index_of), steps)), np.zeros(steps)
    for names, won in zip(examples, successes, strict=True):
        residual = won - won.mean(axis=0)
        sums[[index_of[name] for name in names]] += residual
        squares += (residual**2).sum(axis=0)
    most = max(len(names) for names in examples)
    found: Floats = ((sums**2).sum(axis=0) - squares) / total**2 * most / max(most - 1, 1)
    return found
