"""The difference between two shares of the same examples, such as what a defense loses of the undefended victim's clean
accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from leaderboard.arrays import Booleans
from leaderboard.fit.pooled_rates import shared_example_variance, smoothed_variance
from leaderboard.fit.seed_spread import MAX_LEVEL_SD, UPPER, half_interval_squared

_ADDED = 2.0  # a pair of each discordant sort, to the interval (Bonett and Price 2012)


@dataclass(frozen=True)
class PairedOutcomes:
    """What two models of one seed made of the same examples.

    Attributes:
        successes: of the first and of the second.
        trials: of the first and of the second, each above 0; more than are listed where records do not list all.
        names: of the examples that are listed of both, E.
        first, second: their outcomes, [E].
    """

    successes: tuple[int, int]
    trials: tuple[int, int]
    names: Sequence[str]
    first: Booleans
    second: Booleans

    @property
    def difference(self) -> float:
        """Between the two shares, first less second."""
        return self.successes[0] / self.trials[0] - self.successes[1] / self.trials[1]


@dataclass(frozen=True)
class PairedDifference:
    """A share less another, seeds pooled, with its 95% interval, all between −1 and 1.

    Attributes:
        trials: examples of all seeds, of the share that has fewer.
        pairs: of them, those of which both outcomes are known.
        seeds: with one, the interval is over the examples of this one model.
    """

    value: float
    low: float
    high: float
    trials: int
    pairs: int
    seeds: int


def paired_difference(seeds: Sequence[PairedOutcomes]) -> PairedDifference | None:
    """First less second of all seeds; None without a seed.

    The interval is Bonett and Price's (2012), a pair of each discordant sort added; of several seeds that of
    `half_interval_squared`, since these are draws from more of their kind. Where records list some of the examples
    alone, these tell how often the outcomes differ, at most as often as if they were independent.
    """
    if not seeds:
        return None
    trials = np.array([min(seed.trials) for seed in seeds], dtype=np.float64)
    total, pairs = float(trials.sum()), sum(len(seed.names) for seed in seeds)
    won = np.array([seed.successes for seed in seeds], dtype=np.float64).sum(axis=0)
    tried = np.array([seed.trials for seed in seeds], dtype=np.float64).sum(axis=0)
    shares = won / tried
    value = float(shares[0] - shares[1])
    centre = value * total / (total + _ADDED)
    unlike = sum(int((seed.first != seed.second).sum()) for seed in seeds)
    differ = (unlike + _ADDED) / (pairs + _ADDED)
    if pairs < total:
        independent = float(shares[0] * (1 - shares[1]) + shares[1] * (1 - shares[0]))
        differ = min(differ, independent + _ADDED / (total + _ADDED))
    alone = max(differ - centre**2, abs(centre) - centre**2) / (total + _ADDED)
    z = float(ndtri(UPPER))
    square = z * z * alone
    if len(seeds) > 1:
        deviations = trials * np.array([seed.difference - value for seed in seeds])
        between = float((deviations**2).sum()) * len(seeds) / (len(seeds) - 1) / total**2
        spread = float((smoothed_variance(won, float(tried.min())) ** 2).sum())
        largest = alone + MAX_LEVEL_SD**2 * spread / len(seeds)
        shared = _shared(seeds) * pairs / total
        square = float(half_interval_squared(np.array(between), np.array(alone), np.array(largest), len(seeds), shared))
    ends = centre + np.sqrt(square) * np.array([-1.0, 1.0])
    if len(seeds) > 1:
        # A larger difference comes of more unlike outcomes, which scatter more: each end as they would scatter there.
        wider = 1 + np.maximum(0.0, np.abs(ends) - abs(centre)) / max(differ, abs(centre))
        ends = centre + np.sqrt(square * wider) * np.array([-1.0, 1.0])
    low, high = max(-1.0, min(value, float(ends[0]))), min(1.0, max(value, float(ends[1])))
    return PairedDifference(value, low, high, int(total), pairs, len(seeds))


def _shared(seeds: Sequence[PairedOutcomes]) -> float:
    """What the variance gains because seeds have examples in common."""
    listed = [seed for seed in seeds if len(seed.names)]
    if len(listed) < 2:
        return 0.0
    differences = [(seed.first.astype(float) - seed.second.astype(float))[:, None] for seed in listed]
    return float(np.max(shared_example_variance([seed.names for seed in listed], differences)))
