"""The worst case over attacks: an example is broken when any attack broke it, and what all of them spent is summed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.flops import known
from leaderboard.arrays import Booleans, Floats
from leaderboard.data.trajectories import BudgetUnit, Trajectories, TrajectoriesBySeed, common_examples
from leaderboard.fit.pooled_rates import Rate, pooled_rates, shared_example_variance
from leaderboard.standings.pooled_curve import with_examples

MAX_POINTS = 40  # of the curve


@dataclass(frozen=True)
class WorstCasePoint:
    """Every attack stopped at the same budget per example.

    Attributes:
        budget: of each attack alone; unit of the curve.
        asr: share of the compared examples that any attack broke within it.
        compute: FLOPs (nominal) that all attacks together spent within it, mean per example; None where unknown.
        queries: sequences that all attacks together asked about, mean per example.
    """

    budget: float
    asr: Rate
    compute: float | None
    queries: float


@dataclass(frozen=True)
class WorstCase:
    """What all attacks on one victim and defense do together.

    Attributes:
        attacks: labels, sorted; at least two.
        compared: examples that every attack attacked, of all seeds together.
        attacked: examples that any attack attacked, of all seeds together.
        unit: of the budgets: compute (FLOPs), or queries where the compute of any attack is unknown.
        points: by rising budget; the last one is the full budget of every attack.
    """

    attacks: tuple[str, ...]
    compared: int
    attacked: int
    unit: BudgetUnit
    points: tuple[WorstCasePoint, ...]

    @property
    def full(self) -> WorstCasePoint:
        """At the full budget of every attack."""
        return self.points[-1]


def worst_case(attacks: Mapping[str, TrajectoriesBySeed]) -> WorstCase | None:
    """The union of the attacks, seeds pooled; None with fewer than two attacks, or no example that all of them attacked
    under the same seed.

    The mean over examples of the per-example maximum over attacks, as AutoAttack takes it (Croce and Hein 2020, arXiv
    2003.01690). Its compute is the sum over attacks: whoever runs them all pays for them all, those too that came after
    the example was broken. The interval is that of `pooled_rates`.

    Args:
        attacks: label to seed to trajectories, of one victim, defense, round and section. What an attack that replays
            strings has not spent itself is in no sum.
    """
    usable = {attack: by_seed for attack, by_seed in sorted(attacks.items()) if with_examples(by_seed)}
    if len(usable) < 2:
        return None
    attacked = {
        (seed, example)
        for by_seed in usable.values()
        for seed, trajectories in by_seed.items()
        for example in trajectories.examples
    }
    compared = common_examples(list(usable.values()))
    if not compared:
        return None
    unknown = any(np.isnan(trajectories.compute).any() for of_seed in compared for trajectories in of_seed)
    unit: BudgetUnit = "queries" if unknown else "compute"
    trials = [len(of_seed[0].examples) for of_seed in compared]
    budgets = _budgets([_distinct(trajectories.spent(unit)) for of_seed in compared for trajectories in of_seed])
    unions = [_union_within(of_seed, unit, np.array(budgets)) for of_seed in compared]
    shared = shared_example_variance([of_seed[0].examples for of_seed in compared], [broken for broken, _, _ in unions])
    rates = pooled_rates(np.stack([broken.sum(axis=0) for broken, _, _ in unions]), trials, shared)
    compute, queries = (np.sum([union[part] for union in unions], axis=0) / sum(trials) for part in (1, 2))
    points = tuple(
        WorstCasePoint(budget, asr, known(float(compute[index])), float(queries[index]))
        for index, (budget, asr) in enumerate(zip(budgets, rates, strict=True))
    )
    return WorstCase(tuple(usable), sum(trials), len(attacked), unit, points)


def _distinct(spent: Floats) -> Floats:
    """[E, T] or, where every example spent the same, as searches that never stop early do, [1, T]."""
    return spent[:1] if (spent == spent[:1]).all() else spent


def _budgets(spent: Sequence[Floats]) -> list[float]:
    """What a budget may be: amounts at which some attack had just finished a step, thinned on a log axis."""
    amounts = np.unique(np.concatenate([values.ravel() for values in spent]))
    if len(amounts) > MAX_POINTS:
        positive = amounts[amounts > 0]
        spread = np.searchsorted(positive, np.geomspace(positive[0], positive[-1], MAX_POINTS), side="right") - 1
        kept = np.union1d(spread.clip(0), [0, len(positive) - 1])  # rounding must not lose the ends
        amounts = np.concatenate([amounts[amounts == 0], positive[kept]])
    return [float(amount) for amount in amounts]


def _union_within(
    attacks: Sequence[Trajectories], unit: BudgetUnit, budgets: Floats
) -> tuple[Booleans, Floats, Floats]:
    """Within each of ``budgets`` [B] per attack: which examples any attack broke, [E, B]; what all of them spent in
    compute and queries, summed over examples, [B] each.
    """
    examples = len(attacks[0].examples)
    broken = np.zeros((examples, len(budgets)), dtype=bool)
    compute, queries = np.zeros(len(budgets)), np.zeros(len(budgets))
    rows = np.arange(examples)[:, None]
    for trajectories in attacks:
        spent = _distinct(trajectories.spent(unit))
        steps = np.stack([np.searchsorted(of_example, budgets, side="right") for of_example in spent])  # [E or 1, B]
        last = np.maximum(steps - 1, 0)
        started = steps > 0
        broken |= started & trajectories.so_far[rows, last]
        compute += np.where(started, trajectories.compute[rows, last], 0.0).sum(axis=0)
        queries += np.where(started, trajectories.queries[rows, last], 0.0).sum(axis=0)
    return broken, compute, queries
