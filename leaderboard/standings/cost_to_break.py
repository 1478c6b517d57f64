"""What it costs to break a victim: the compute at which attack success first reaches a target, with an interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from leaderboard.data.trajectories import TrajectoriesBySeed
from leaderboard.fit.compute_to_target import SeedCurves, compute_to_target
from leaderboard.fit.crossing import first_crossing
from leaderboard.standings.pooled_curve import pooled_curve, seed_curves, with_examples


@dataclass(frozen=True)
class CostToBreak:
    """Compute per attacked example at which ASR so far first reaches the target, seeds pooled, by the cheapest attack.

    FLOPs, nominal convention. Where no attack that reaches the target has a known compute, the cheapest is the one that
    asks the fewest queries.

    Attributes:
        reached: whether any attack reaches the target.
        compute: None when none does, or where it is unknown.
        low: lower end of the 95% interval; None where compute is unknown. Of a victim that is not broken it may lie
            within the budget: other seeds and examples like these might have been broken.
        high: upper end; None when the interval has no upper end within the budget, or where compute is unknown.
        attack: the cheapest attack; when none reaches the target, the one that spent most.
        budget: mean compute per example of the full budget of that attack; None where it is unknown.
        queries: mean queries per example at which that attack reaches the target; its full budget when it does not.
        seeds: how many that attack was run under. With one, the interval is over the examples of this one model and
            says nothing of another that was trained the same way.
    """

    reached: bool
    compute: float | None
    low: float | None
    high: float | None
    attack: str
    budget: float | None
    queries: float
    seeds: int


def costs_to_break(
    attacks: Mapping[str, TrajectoriesBySeed], target: float, left_out: frozenset[str] = frozenset()
) -> tuple[CostToBreak | None, dict[str, CostToBreak]]:
    """The cost by the cheapest of all attacks but those ``left_out`` (of all where these are all), None when no attack
    has an attacked example; and of each attack alone.

    The interval holds each amount of compute at which the interval of the ASR over seeds and examples holds the target
    (`compute_to_target`). With one seed the spread over seeds is unknown and left out.
    """
    crossings = {
        attack: _AttackCrossing(by_seed, target) for attack, by_seed in attacks.items() if with_examples(by_seed)
    }
    if not crossings:
        return None, {}
    counted = {attack: crossing for attack, crossing in crossings.items() if attack not in left_out} or crossings
    alone = {attack: _cheapest({attack: crossing}, target) for attack, crossing in crossings.items()}
    return _cheapest(counted, target), alone


def known_curves(attacks: Mapping[str, TrajectoriesBySeed], left_out: frozenset[str]) -> tuple[SeedCurves, ...]:
    """The curves by which a row is ranked: those of `costs_to_break` with known compute."""
    usable = {attack: by_seed for attack, by_seed in attacks.items() if with_examples(by_seed)}
    counted = {attack: by_seed for attack, by_seed in usable.items() if attack not in left_out} or usable
    curves = [seed_curves(by_seed) for _, by_seed in sorted(counted.items())]
    return tuple(curve for curve in curves if not np.isnan(curve.compute).any())


class _AttackCrossing:
    """Where one attack reaches the target (inf: never; NaN: compute unknown)."""

    def __init__(self, by_seed: TrajectoriesBySeed, target: float) -> None:
        pooled = pooled_curve(by_seed)
        self.compute = float(first_crossing(pooled.compute, pooled.asr, target))
        self.queries = float(first_crossing(pooled.queries, pooled.asr, target))
        self.full_compute, self.full_queries = float(pooled.compute[-1]), float(pooled.queries[-1])
        self.seeds = len(with_examples(by_seed))
        self.curves = None if np.isnan(pooled.compute).any() else seed_curves(by_seed)


def _cheapest(crossings: Mapping[str, _AttackCrossing], target: float) -> CostToBreak:
    reached = {attack: crossing for attack, crossing in crossings.items() if np.isfinite(crossing.compute)}
    if not reached:
        return _without_known_compute(crossings, target)
    attack = min(reached, key=lambda name: (reached[name].compute, -reached[name].full_compute, name))
    crossing = reached[attack]
    low, high = _interval(crossings, target)
    return CostToBreak(
        reached=True,
        compute=crossing.compute,
        low=min(low, crossing.compute),
        high=high if np.isfinite(high) else None,
        attack=attack,
        budget=crossing.full_compute,
        queries=crossing.queries,
        seeds=crossing.seeds,
    )


def _without_known_compute(crossings: Mapping[str, _AttackCrossing], target: float) -> CostToBreak:
    """Where no attack reaches the target at a known compute: by queries, then by the largest budget."""

    def fewest_queries(name: str) -> tuple[float, float, float, str]:
        crossing = crossings[name]
        return crossing.queries, -float(np.nan_to_num(crossing.full_compute)), -crossing.full_queries, name

    attack = min(crossings, key=fewest_queries)
    crossing = crossings[attack]
    broken = bool(np.isfinite(crossing.queries))
    budget = None if np.isnan(crossing.full_compute) else crossing.full_compute
    return CostToBreak(
        reached=broken,
        compute=None,
        low=None if broken or budget is None else min(_interval(crossings, target)[0], budget),
        high=None,
        attack=attack,
        budget=budget,
        queries=crossing.queries if broken else crossing.full_queries,
        seeds=crossing.seeds,
    )


def _interval(crossings: Mapping[str, _AttackCrossing], target: float) -> tuple[float, float]:
    _, low, high = compute_to_target([each.curves for each in crossings.values() if each.curves is not None], target)
    return low, high
