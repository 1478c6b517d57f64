"""What it costs to break a victim: the compute at which attack success first reaches a target, with an interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from leaderboard.data.trajectories import TrajectoriesBySeed
from leaderboard.fit.bootstrap import BootstrapWeights, bootstrap_crossings, bootstrap_weights
from leaderboard.fit.crossing import first_crossing
from leaderboard.standings.pooled_curve import pooled_curve, with_examples


@dataclass(frozen=True)
class CostToBreak:
    """Compute per attacked example at which ASR so far first reaches the target, seeds pooled, by the cheapest attack.

    FLOPs, nominal convention. Where no attack that reaches the target has a known compute, the cheapest is the one that
    asks the fewest queries.

    Attributes:
        reached: whether any attack reaches the target.
        compute: None when none does, or where it is unknown.
        low: lower end of the 95% interval; None where compute is unknown. Of a victim that is not broken it may lie
            within the budget: other examples like these might have been broken.
        high: upper end; None when the interval has no upper end within the budget, or where compute is unknown.
        attack: the cheapest attack; when none reaches the target, the one that spent most.
        budget: mean compute per example of the full budget of that attack; None where it is unknown.
        queries: mean queries per example at which that attack reaches the target; its full budget when it does not.
    """

    reached: bool
    compute: float | None
    low: float | None
    high: float | None
    attack: str
    budget: float | None
    queries: float


def costs_to_break(
    attacks: Mapping[str, TrajectoriesBySeed], target: float, left_out: frozenset[str] = frozenset()
) -> tuple[CostToBreak | None, dict[str, CostToBreak]]:
    """The cost by the cheapest of all attacks but those ``left_out`` (of all where these are all), None when no attack
    has an attacked example; and of each attack alone, from the same draws.

    The interval is a percentile bootstrap: seeds are drawn with replacement, then examples within each drawn seed, the
    same examples for all attacks, and the cheapest attack is chosen anew each time. With few seeds the draw of seeds
    is coarse, and with one seed the spread over seeds is left out.
    """
    usable = {attack: by_seed for attack, by_seed in attacks.items() if with_examples(by_seed)}
    if not usable:
        return None, {}
    weights = bootstrap_weights(usable)
    crossings = {attack: _AttackCrossing(by_seed, weights, target) for attack, by_seed in usable.items()}
    counted = {attack: crossing for attack, crossing in crossings.items() if attack not in left_out} or crossings
    return _cheapest(counted), {attack: _cheapest({attack: crossing}) for attack, crossing in crossings.items()}


class _AttackCrossing:
    """Where one attack reaches the target: as recorded, and in every replicate (inf: never; NaN: compute unknown)."""

    def __init__(self, by_seed: TrajectoriesBySeed, weights: BootstrapWeights, target: float) -> None:
        curve = pooled_curve(by_seed)
        self.compute = float(first_crossing(curve.compute, curve.asr, target))
        self.queries = float(first_crossing(curve.queries, curve.asr, target))
        self.full_compute, self.full_queries = float(curve.compute[-1]), float(curve.queries[-1])
        is_known = not np.isnan(curve.compute).any()
        self.replicates = bootstrap_crossings(by_seed, weights, target) if is_known else None


def _cheapest(crossings: Mapping[str, _AttackCrossing]) -> CostToBreak:
    reached = {attack: crossing for attack, crossing in crossings.items() if np.isfinite(crossing.compute)}
    if not reached:
        return _without_known_compute(crossings)
    attack = min(reached, key=lambda name: (reached[name].compute, -reached[name].full_compute, name))
    crossing = reached[attack]
    low, high = _interval(crossings)
    return CostToBreak(
        reached=True,
        compute=crossing.compute,
        low=min(low, crossing.compute),
        high=high if np.isfinite(high) else None,
        attack=attack,
        budget=crossing.full_compute,
        queries=crossing.queries,
    )


def _without_known_compute(crossings: Mapping[str, _AttackCrossing]) -> CostToBreak:
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
        low=None if broken or budget is None else min(_interval(crossings)[0], budget),
        high=None,
        attack=attack,
        budget=budget,
        queries=crossing.queries if broken else crossing.full_queries,
    )


def _interval(crossings: Mapping[str, _AttackCrossing]) -> tuple[float, float]:
    replicates = np.min([each.replicates for each in crossings.values() if each.replicates is not None], axis=0)
    # Order statistics, not interpolated ones: some replicates never reach the target and are infinite.
    low, high = np.quantile(replicates, [0.025, 0.975], method="inverted_cdf")
    return float(low), float(high)
