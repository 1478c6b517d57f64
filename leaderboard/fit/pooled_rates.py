"""Rates over several seeds, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from leaderboard.arrays import Integers
from leaderboard.fit.likelihood.uncertainty import Z


@dataclass(frozen=True)
class Rate:
    """A share of trials with its 95% interval.

    Attributes:
        successes: of all seeds together.
        trials: of all seeds together, at least 1.
        low: lower end.
        high: upper end.
    """

    successes: int
    trials: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share itself."""
        return self.successes / self.trials


def pooled_rate(successes: Sequence[int], trials: Sequence[int]) -> Rate | None:
    """The rate over seeds pooled, one entry per seed; None without a trial. Interval as for `pooled_rates`."""
    rates = pooled_rates(np.array(successes, dtype=np.int64).reshape(-1, 1), trials)
    return rates[0] if rates else None


def pooled_rates(successes: Integers, trials: Sequence[int]) -> list[Rate]:
    """The rate at each of T steps over S seeds pooled; empty without a trial.

    Wilson's score interval (Wilson 1927) on the number of trials divided by the design effect between seeds (Rao and
    Scott 1992). That is estimated once for all steps, and taken as at least 1: seeds that differ more than chance widen
    the interval, seeds that differ less do not narrow it. With one seed, spread over seeds is unknown and left out.

    Args:
        successes: [S, T].
        trials: [S], the same at all steps.
    """
    total = int(sum(trials))
    if total == 0:
        return []
    effective_trials = total / design_effect(successes, trials)
    pooled = successes.sum(axis=0).tolist()
    return [Rate(int(count), total, *wilson_interval(count / total, effective_trials)) for count in pooled]


def wilson_interval(share: float, trials: float) -> tuple[float, float]:
    """Wilson's 95% score interval for a share of ``trials``: any positive number, where scipy's binomtest takes counts
    alone.
    """
    centre = (share + Z * Z / (2 * trials)) / (1 + Z * Z / trials)
    half = Z * sqrt(share * (1 - share) / trials + Z * Z / (4 * trials * trials)) / (1 + Z * Z / trials)
    # At the ends the exact bound is the share itself; rounding would miss it.
    return (0.0 if share == 0 else max(0.0, centre - half)), (1.0 if share == 1 else min(1.0, centre + half))


def design_effect(successes: Integers, trials: Sequence[int]) -> float:
    """Variance of the pooled rates with seeds as clusters, over their variance if all trials were independent.

    The ratio of the sums over steps, at least 1; [S, T] successes of [S] trials.
    """
    trials_of_seed = np.array(trials, dtype=np.float64)
    used = trials_of_seed > 0
    seeds, total = int(used.sum()), trials_of_seed.sum()
    if seeds < 2:
        return 1.0
    share = successes[used].sum(axis=0) / total
    residual = successes[used] - share * trials_of_seed[used, None]
    clustered = float((residual**2).sum()) * seeds / (seeds - 1) / total**2
    independent = float((share * (1 - share)).sum()) / total
    return max(1.0, clustered / independent) if independent > 0 else 1.0
