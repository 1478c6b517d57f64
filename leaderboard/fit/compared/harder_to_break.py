"""Which victims are surely harder to break than which: the chance of any false order in a table is at most 5%."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from leaderboard.arrays import Booleans, Floats
from leaderboard.fit.compute_to_target import SeedCurves
from leaderboard.fit.crossing import first_crossing
from leaderboard.fit.pooled_rates import smoothed_variance, variance_between_seeds, wilson_bounds

ERROR = 0.05


def surely_harder(
    victims: Sequence[Sequence[SeedCurves]], target: float, groups: Sequence[Hashable] | None = None
) -> Booleans:
    """[R, R], whether victim i is surely harder to break than victim j.

    Two that reach the target are compared by the logarithm of what it costs, with the interval for a difference of Zou
    and Donner (2008); one that does not, by its budget, and by its ASR at the compute at which the other does. The
    spread between seeds is the table's (a mean over victims), or the curve's own where that is larger. Bonferroni over
    pairs, and over the attacks of the easier one, any of which may look cheap by chance.

    Args:
        victims: of each of R the curves of its attacks, one or more, all of two seeds or more, compute in one unit.
        target: attack success rate that counts as broken.
        groups: which group each is in; only members of one group are compared. All are in one where left out.
    """
    count = len(victims)
    numbers: dict[Hashable, int] = {}
    group = np.array([numbers.setdefault(name, len(numbers)) for name in groups or [None] * count])
    alike: Booleans = group[:, None] == group[None, :]
    pairs = int(alike.sum()) - count
    if not pairs:
        return np.zeros((count, count), dtype=np.bool_)
    cheapest = [min(curves, key=lambda curve: _cost(curve, target)) for curves in victims]
    spread, freedom = _typical_spread([_spread_at_target(curve, target) for curve in cheapest])

    def quantile(pairs: int) -> float:
        return float(stdtrit(freedom, 1 - ERROR / pairs))

    bands = [
        [_band(curve, target, spread, quantile(pairs * len(curves)), quantile(pairs)) for curve in curves]
        for curves in victims
    ]

    def costs(ends: Callable[[_Band], Floats]) -> Floats:
        return np.array([min(float(first_crossing(band.compute, ends(band), target)) for band in of) for of in bands])

    cost = costs(lambda band: band.asr)
    reached = np.isfinite(cost)
    harder = _apart_by_cost(
        cost, costs(lambda band: band.high), costs(lambda band: band.low), np.array([_budget(of) for of in bands])
    )
    for i in np.flatnonzero(~reached):
        for j in np.flatnonzero(cost <= _budget(bands[i])):
            harder[i, j] |= _apart_by_asr(bands[i], bands[j], float(cost[j]), target)
    compared: Booleans = harder & alike
    return compared


@dataclass(frozen=True)
class _Band:
    """One attack's curve with simultaneous ends; [T] each."""

    compute: Floats
    asr: Floats
    low: Floats
    high: Floats


def _band(curve: SeedCurves, target: float, typical: float, below: float, above: float) -> _Band:
    """``below`` and ``above``: quantiles for the lower and the upper end."""
    total, seeds = float(curve.trials.sum()), len(curve.trials)
    variance = smoothed_variance(curve.successes.sum(axis=0), total)
    own = _spread_at_target(curve, target).excess
    width = curve.noise / total + np.maximum(curve.shared, 0.0) / variance + variance * max(typical, own) / seeds
    low, high = wilson_bounds(curve.asr, below**2 * width)[0], wilson_bounds(curve.asr, above**2 * width)[1]
    return _Band(curve.compute, curve.asr, low, high)


@dataclass(frozen=True)
class _SeedSpread:
    """Variance of the seeds' log-odds beyond chance (it may be below 0), how well it is told, and by how many seeds."""

    excess: float
    precision: float
    freedom: int


def _spread_at_target(curve: SeedCurves, target: float) -> _SeedSpread:
    """Where the curve reaches ``target``, or at its end."""
    hit = curve.asr >= target
    at = int(hit.argmax()) if hit.any() else len(hit) - 1
    seeds, total = len(curve.trials), float(curve.trials.sum())
    deviations = None if curve.deviations is None else curve.deviations[:, at : at + 1]
    between = variance_between_seeds(curve.successes[:, at : at + 1], curve.trials, deviations)[0]
    variance = float(smoothed_variance(curve.successes[:, at].sum(), total))
    examples_alone = variance * float(np.broadcast_to(curve.noise, hit.shape)[at]) / total
    return _SeedSpread(float(between - examples_alone) * seeds / variance**2, variance**2, seeds - 1)


def _typical_spread(spreads: Sequence[_SeedSpread]) -> tuple[float, float]:
    """The mean excess over victims, and its degrees of freedom (Satterthwaite)."""
    excess, precision, freedom = (
        np.array([getattr(spread, name) for spread in spreads]) for name in ("excess", "precision", "freedom")
    )
    weight = freedom * precision  # seeds that were all broken, or never, tell little of how they differ
    return max(0.0, float(weight @ excess / weight.sum())), float(weight.sum() ** 2 / (weight @ precision))


def _apart_by_cost(cost: Floats, least: Floats, most: Floats, budget: Floats) -> Booleans:
    """[R, R]; what was not reached costs more than the budget."""
    with np.errstate(divide="ignore", invalid="ignore"):
        at, near = np.log(np.minimum(cost, budget)), np.log(np.minimum(least, budget))
        far = np.where(np.isfinite(most), np.log(np.minimum(most, budget)), np.inf)
        apart: Booleans = at[:, None] - at > np.sqrt((at - near)[:, None] ** 2 + (far - at) ** 2)
    return apart


def _apart_by_asr(hard: Sequence[_Band], easy: Sequence[_Band], compute: float, target: float) -> bool:
    """At the ``compute`` at which the easier one reaches the target."""
    asr, high = _highest(hard, compute, lambda band: band.asr), _highest(hard, compute, lambda band: band.high)
    low = _highest(easy, compute, lambda band: band.low)
    return target - asr > float(np.hypot(target - low, high - asr))


def _highest(bands: Sequence[_Band], compute: float, values: Callable[[_Band], Floats]) -> float:
    """Of all attacks at ``compute``; nothing succeeds at none."""
    return max(float(np.interp(compute, np.append(0.0, band.compute), np.append(0.0, values(band)))) for band in bands)


def _budget(bands: Sequence[_Band]) -> float:
    return max(float(band.compute[-1]) for band in bands)


def _cost(curve: SeedCurves, target: float) -> tuple[float, float]:
    """To the target; of attacks that do not reach it the strongest comes first."""
    return float(first_crossing(curve.compute, curve.asr, target)), -float(curve.asr[-1])
