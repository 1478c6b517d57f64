"""The difference of two shares over the same examples, with an interval: two versions of a model put to one test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from leaderboard.arrays import Booleans, Floats, Integers
from leaderboard.fit.pooled_rates import smoothed_variance
from leaderboard.fit.seed_spread import MAX_LEVEL_SD, UPPER, half_interval_squared

_PSEUDO_PAIRS = 1.0  # added to either kind of discordant pairs that stand for their variance (Bonett and Price 2012)
_NEAR = 1e-9


@dataclass(frozen=True)
class Rest:
    """Further examples of one seed, the same in both versions, of which numbers alone are known: of ``old_trials`` and
    ``new_trials`` those that came out so.
    """

    old: int = 0
    old_trials: int = 0
    new: int = 0
    new_trials: int = 0

    @property
    def pairs(self) -> int:
        """As many as both versions have."""
        return min(self.old_trials, self.new_trials)


NO_REST = Rest()


@dataclass(frozen=True)
class SeedPairs:
    """What came of the same examples in two versions, under one seed.

    Attributes:
        examples: [E] names.
        old, new: [E], whether it came out so.
        rest: of other examples.
    """

    examples: tuple[str, ...]
    old: Booleans
    new: Booleans
    rest: Rest = NO_REST


@dataclass(frozen=True)
class PairedDifference:
    """``new`` less ``old``: shares of the same examples, seeds pooled.

    Attributes:
        value, low, high: the difference and its interval.
        pairs: an example counts once for each seed.
        examples: different ones; of those known by number alone as many as a seed has.
        only_old, only_new: pairs that came out so in one version alone; what is known by number counts as if what an
            example does in one version told nothing of the other.
        known_by_number: of the pairs, those whose examples are not told apart.
        seeds: how many have a pair.
    """

    old: float
    new: float
    value: float
    low: float
    high: float
    pairs: int
    examples: int
    only_old: float
    only_new: float
    known_by_number: int
    seeds: int


def paired_difference(
    seeds: Sequence[SeedPairs], *, one_model: bool, level: float = UPPER, times: float = 1.0
) -> PairedDifference | None:
    """The difference with its interval; None without a pair.

    Tango's score interval (Tango 1998) for as many pairs as tell the same as these: of several seeds that share
    examples fewer than there are, by the variance of the examples' sums over seeds. Where each seed has models of its
    own, these too are draws, see `half_interval_squared`. With one seed of these the interval is over the examples of
    this one pair of models.

    Args:
        seeds: one or more.
        one_model: whether all seeds attack one and the same model in each version.
        level: the quantile at the upper end; 1 − ``level`` lies beyond either end.
        times: interval that so many times as many examples would have with the same outcomes.
    """
    used = [seed for seed in seeds if len(seed.examples) or seed.rest.pairs]
    if not used:
        return None
    counts = np.array([_counts(seed) for seed in used])  # [S, 4]: pairs, new alone, old alone, both or old alone
    pairs, only_new, only_old, old = counts.sum(axis=0).tolist()
    value = (only_new - only_old) / pairs
    variance, z = _smoothed_discordance(only_new, only_old, pairs), float(ndtri(level))
    examples_alone = variance / pairs
    dependence = _dependence(used, value if one_model else None)
    square = z * z * examples_alone * dependence
    if not one_model and len(used) > 1:
        off = counts[:, 1] - counts[:, 2] - value * counts[:, 0]
        between = float(off @ off) * len(used) / (len(used) - 1) / pairs**2
        scatter = sum(float(smoothed_variance(np.array(won), pairs)) ** 2 for won in (old, old + only_new - only_old))
        square = float(
            half_interval_squared(
                np.array(between),
                np.array(examples_alone),
                np.array(examples_alone + MAX_LEVEL_SD**2 * scatter / len(used)),
                len(used),
                examples_alone * (dependence - 1),
                level,
            )
        )
    worth = z * z * examples_alone / square * times
    low, high = tango_interval(only_new * worth, only_old * worth, pairs * worth, z)
    most = max(seed.rest.pairs for seed in used)
    return PairedDifference(
        old=old / pairs,
        new=(old + only_new - only_old) / pairs,
        value=value,
        low=low,
        high=high,
        pairs=round(pairs),
        examples=len(set().union(*(seed.examples for seed in used))) + most,
        only_old=only_old,
        only_new=only_new,
        known_by_number=sum(seed.rest.pairs for seed in used),
        seeds=len(used),
    )


def tango_interval(only_new: float, only_old: float, pairs: float, z: float) -> tuple[float, float]:
    """Where the score test of Tango (1998, Statistics in Medicine 17:891) does not reject a difference of the shares.

    Args:
        only_new, only_old: discordant pairs; they need not be whole.
        pairs: all of them, above 0.
        z: standard normal quantile.
    """
    return -_upper_end(only_old, only_new, pairs, z), _upper_end(only_new, only_old, pairs, z)


def _upper_end(gained: float, lost: float, pairs: float, z: float) -> float:
    from scipy.optimize import brentq  # slow to import

    start = (gained - lost) / pairs + _NEAR
    if start >= 1 - _NEAR:
        return 1.0

    def above(difference: float) -> float:
        room = difference * (1 - difference)
        b = (2 * pairs - gained + lost) * difference - gained - lost
        # The most likely share of pairs that are lost, where the shares differ by so much.
        share = (np.sqrt(max(b * b + 8 * pairs * lost * room, 0.0)) - b) / (4 * pairs)
        return float(gained - lost - pairs * difference + z * np.sqrt(max(pairs * (2 * share + room), 0.0)))

    return float(brentq(above, start, 1.0)) if above(start) > 0 else start


def _counts(seed: SeedPairs) -> tuple[float, float, float, float]:
    old, new, rest = np.asarray(seed.old, bool), np.asarray(seed.new, bool), seed.rest
    found = [float(len(old)), float((new & ~old).sum()), float((old & ~new).sum()), float(old.sum())]
    if rest.pairs:
        was, now = rest.old / rest.old_trials, rest.new / rest.new_trials
        more = (rest.pairs, rest.pairs * now * (1 - was), rest.pairs * was * (1 - now), rest.pairs * was)
        found = [count + further for count, further in zip(found, more, strict=True)]
    return found[0], found[1], found[2], found[3]


def _smoothed_discordance(only_new: float, only_old: float, pairs: float) -> float:
    """Variance of a pair's difference, kept away from 0."""
    gained, lost = ((count + _PSEUDO_PAIRS) / (pairs + 2 * _PSEUDO_PAIRS) for count in (only_new, only_old))
    return gained + lost - (gained - lost) ** 2


def _dependence(seeds: Sequence[SeedPairs], mean: float | None) -> float:
    """How many times larger the variance is because seeds share examples; 1 where they share none.

    Args:
        mean: what differences are counted from; None: each seed's own.
    """
    listed = [seed for seed in seeds if len(seed.examples)]
    if len(listed) < 2:
        return 1.0
    names: list[str] = [name for seed in listed for name in seed.examples]
    _, index = np.unique(names, return_inverse=True)
    residuals: list[Floats] = []
    for seed in listed:
        difference = np.asarray(seed.new, np.float64) - np.asarray(seed.old, np.float64)
        residuals.append(difference - (difference.mean() if mean is None else mean))
    return _ratio_of_variances(np.concatenate(residuals), index.astype(np.int64))


def _ratio_of_variances(residual: Floats, example: Integers) -> float:
    """Of sums over an example's seeds to single ones. One example whose seeds agree wholly is added to what is seen, so
    that a few discordant pairs do not tell that seeds are independent.
    """
    sums = np.bincount(example, residual)
    size = len(residual) / len(sums)
    together = float(sums @ sums) + size**2
    return max(1.0, together / (float(residual @ residual) + size))
