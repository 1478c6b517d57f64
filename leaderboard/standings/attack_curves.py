"""The curve of one attack against one victim and defense, seeds pooled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.errors import DataError
from harness.flops import known
from harness.records.read import Cell
from leaderboard.data.record_facts import reference_flops
from leaderboard.data.trajectories import BudgetUnit, TrajectoriesBySeed
from leaderboard.fit.attack_scaling import AttackScaling, fit_first_successes
from leaderboard.fit.likelihood.first_successes import first_successes_of_trajectories
from leaderboard.fit.pooled_rates import Rate, pooled_rates
from leaderboard.fit.repeated.asr_at import AsrAt
from leaderboard.fit.repeated.asr_at_of_cells import asr_at_of_cells
from leaderboard.standings.pooled_curve import extended, pooled_curve, shared_variance, with_examples


@dataclass(frozen=True)
class CurvePoint:
    """A point is one step of a pooled attack curve.

    Attributes:
        step: from 1.
        asr: ASR so far.
        compute: spent so far, mean per attacked example, FLOPs (nominal); None where unknown.
        queries: asked so far, mean per attacked example.
    """

    step: int
    asr: Rate
    compute: float | None
    queries: float

    def spent(self, unit: BudgetUnit) -> float | None:
        """`compute` or `queries`."""
        return self.compute if unit == "compute" else self.queries


@dataclass(frozen=True)
class AttackCurve:
    """One attack against one victim and defense, seeds pooled; no points when nothing was attacked.

    Attributes:
        asr_at: where answers are drawn, ASR@j at full budget by j.
    """

    attack: str
    seeds: int
    points: tuple[CurvePoint, ...]
    fit: AttackScaling | None
    asr_at: tuple[AsrAt, ...] = ()


def cells_by_attack(cells: Sequence[Cell]) -> dict[str, dict[int, Cell]]:
    """Attack label to seed to cell, of one victim and defense. Raises `DataError` where two cells claim one place."""
    by_attack: dict[str, dict[int, Cell]] = {}
    for cell in cells:
        first = by_attack.setdefault(cell.record.attack.label, {}).setdefault(cell.record.seed, cell)
        if first is not cell:
            raise DataError(
                f"{cell.folder} and {first.folder} are the same cell, made by different versions. Remove the older."
            )
    return by_attack


def attack_curve(attack: str, cells: Mapping[int, Cell], by_seed: TrajectoriesBySeed) -> AttackCurve:
    """The curve of ``attack``; its ``cells`` and their trajectories by seed."""
    used = with_examples(by_seed)
    if not used:
        return AttackCurve(attack, 0, (), None)
    pooled, of_seeds = pooled_curve(used), list(used.values())
    broken = np.stack([extended(trajectories.broken, len(pooled.asr)) for trajectories in of_seeds])
    trials = [len(trajectories.examples) for trajectories in of_seeds]
    rates = pooled_rates(broken, trials, shared_variance(of_seeds))
    points = tuple(
        CurvePoint(step, asr, known(float(compute)), float(queries))
        for step, (asr, compute, queries) in enumerate(zip(rates, pooled.compute, pooled.queries, strict=True), start=1)
    )
    with_reference = [(trajectories, reference_flops(cells[seed].record)) for seed, trajectories in used.items()]
    fit = fit_first_successes({}, first_successes_of_trajectories(with_reference))
    return AttackCurve(attack, len(used), points, fit, asr_at_of_cells(cells, used))
