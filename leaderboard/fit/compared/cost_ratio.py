"""How many times as much it costs to break one version of a model as another, on the same examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, inf, isfinite, log, sqrt

import numpy as np

from leaderboard.arrays import Booleans, Floats
from leaderboard.fit.compute_to_target import SeedCurves, compute_to_target, curves_of_seeds
from leaderboard.fit.pooled_rates import smoothed_variance

MOST_CORRELATED = 0.95


@dataclass(frozen=True)
class BrokenExamples:
    """One attack on one version in S seeds; examples and seeds are those of the other version as well.

    Attributes:
        names: of each seed [E].
        broken: of each seed [E, T], so far.
        spent: of each seed [E, T], so far, in any unit.
    """

    names: Sequence[Sequence[str]]
    broken: Sequence[Booleans]
    spent: Sequence[Floats]


@dataclass(frozen=True)
class CostRatio:
    """Cost of the new version over cost of the old one, at the target; below 1 the new one is easier to break.

    Attributes:
        old, new: costs, mean per example; None where the target is not reached within the budget.
        old_budget, new_budget: mean per example of the full budgets.
        value: None where either is not reached; ``low`` and ``high`` may yet be known.
        low, high: 95% interval; None: no end on that side.
    """

    old: float | None
    new: float | None
    old_budget: float
    new_budget: float
    value: float | None
    low: float | None
    high: float | None


def cost_ratio(old: BrokenExamples, new: BrokenExamples, target: float, *, one_model: bool) -> CostRatio:
    """The ratio with its 95% interval, on a logarithmic axis made of the intervals of both costs (Zou and Donner 2008).

    A version that is not broken costs more than its budget, which is a lower bound and no cost: the ratio has then one
    end. Over the examples alone (one seed, or ``one_model``) both costs go up and down together as far as the same
    examples hold out; with models of each seed's own they are taken as independent, which is on the safe side.

    Args:
        one_model: whether all seeds attack one and the same model in each version.
    """
    curves = [_curves(each, one_model) for each in (old, new)]
    budgets = [float(curve.compute[-1]) for curve in curves]
    (was, was_low, was_high), (now, now_low, now_high) = (compute_to_target([curve], target) for curve in curves)
    broken = isfinite(was), isfinite(now)
    costs = (was if broken[0] else None), (now if broken[1] else None)
    nothing = CostRatio(costs[0], costs[1], budgets[0], budgets[1], None, None, None)
    if not any(broken) or min(was, now) <= 0:
        return nothing
    alone = one_model or len(old.names) == 1
    correlation = _correlation(old, new, costs, curves) if alone and all(broken) else 0.0
    least_old, least_new = min(was, budgets[0]), min(now, budgets[1])
    ratio = log(least_new / least_old)
    low = ratio - _half(_log_ratio(least_new, now_low), _log_ratio(was_high, least_old), correlation)
    high = ratio + _half(_log_ratio(least_old, was_low), _log_ratio(now_high, least_new), correlation)
    return replace(
        nothing,
        value=exp(ratio) if all(broken) else None,
        low=exp(low) if broken[0] and isfinite(low) else None,
        high=exp(high) if broken[1] and isfinite(high) else None,
    )


def _curves(attack: BrokenExamples, one_model: bool) -> SeedCurves:
    """The seeds' curves; of one model as those of one seed, in which an example counts as often as it was attacked."""
    found = curves_of_seeds(attack.names, attack.broken, attack.spent)
    if not one_model or len(attack.names) == 1:
        return found
    successes, trials = found.successes.sum(axis=0), float(found.trials.sum())
    alone = smoothed_variance(successes, trials) / trials
    noise = found.noise + np.maximum(found.shared, 0.0) / alone
    return SeedCurves(successes[None], np.array([trials]), found.compute, noise=noise)


def _correlation(
    old: BrokenExamples, new: BrokenExamples, costs: tuple[float | None, float | None], curves: Sequence[SeedCurves]
) -> float:
    """Over examples, of being broken at each version's own cost; 0 where they hold out independently."""
    _, example = np.unique(np.concatenate([np.asarray(names) for names in old.names]), return_inverse=True)
    sums = []
    for attack, cost, curve in zip((old, new), costs, curves, strict=True):
        assert cost is not None
        at = min(int(np.searchsorted(curve.compute, cost)), len(curve.compute) - 1)
        fell = np.concatenate([rows[:, min(at, rows.shape[1] - 1)] for rows in attack.broken]).astype(np.float64)
        sums.append(np.bincount(example, fell - fell.mean()))
    scale = float(np.sqrt((sums[0] @ sums[0]) * (sums[1] @ sums[1])))
    return min(max(float(sums[0] @ sums[1]) / scale, 0.0), MOST_CORRELATED) if scale else 0.0


def _log_ratio(more: float, less: float) -> float:
    """Never below 0."""
    if less >= more:
        return 0.0
    return log(more / less) if less > 0 and isfinite(more) else inf


def _half(one: float, other: float, correlation: float) -> float:
    if not (isfinite(one) and isfinite(other)):
        return inf
    return sqrt(max(one * one + other * other - 2 * correlation * one * other, 0.0))
