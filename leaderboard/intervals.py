"""Intervals for rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

Z = 1.959963984540054  # normal quantile at 0.975


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
    """The rate over seeds pooled, one entry per seed; None without a trial.

    Wilson's score interval (Wilson 1927) on the number of trials divided by the design effect between seeds (Rao and Scott 1992), which is taken as at
    least 1: seeds that differ more than chance widen the interval, seeds that differ less do not narrow it. With one seed, spread over seeds is unknown
    and left out.
    """
    won, tried = int(sum(successes)), int(sum(trials))
    if tried == 0:
        return None
    share = won / tried
    low, high = wilson(share, tried / design_effect(successes, trials))
    return Rate(won, tried, low, high)


def wilson(share: float, trials: float) -> tuple[float, float]:
    """Wilson's 95% score interval for a share of ``trials`` (any positive number, so that an effective one may be given)."""
    centre = (share + Z * Z / (2 * trials)) / (1 + Z * Z / trials)
    half = Z * sqrt(share * (1 - share) / trials + Z * Z / (4 * trials * trials)) / (1 + Z * Z / trials)
    # At the ends the exact bound is the share itself; rounding would miss it.
    return (0.0 if share == 0 else max(0.0, centre - half)), (1.0 if share == 1 else min(1.0, centre + half))


def design_effect(successes: Sequence[int], trials: Sequence[int]) -> float:
    """Variance of the pooled rate with seeds as clusters, over its variance if all trials were independent; at least 1."""
    pairs = [(won, tried) for won, tried in zip(successes, trials, strict=True) if tried > 0]
    total = sum(tried for _, tried in pairs)
    share = sum(won for won, _ in pairs) / total if total else 0.0
    if len(pairs) < 2 or share in (0.0, 1.0):
        return 1.0
    k = len(pairs)
    clustered = k / (k - 1) * sum((won - share * tried) ** 2 for won, tried in pairs) / total**2
    return max(1.0, clustered / (share * (1 - share) / total))
