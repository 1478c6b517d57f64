"""The curve of one attack against one victim and defense, seeds pooled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.errors import DataError
from harness.flops import known
from harness.records.read import Cell
from leaderboard.data.from_run import reference_flops
from leaderboard.fit.attack_scaling import AttackScaling, from_observed
from leaderboard.fit.intervals import Rate, pooled_rates
from leaderboard.fit.likelihood.first_success import from_records
from leaderboard.standings.cost_to_break import PerSeed, pooled_spent


@dataclass(frozen=True)
class Point:
    """One step of a pooled attack curve: ASR so far, and per attacked example so far the mean compute (FLOPs, nominal;
    None where unknown) and queries.
    """

    step: int
    asr: Rate
    compute: float | None
    queries: float


@dataclass(frozen=True)
class AttackCurve:
    """One attack against one row, seeds pooled; no points when nothing was attacked."""

    attack: str
    seeds: int
    points: tuple[Point, ...]
    fit: AttackScaling | None


def by_attack(cells: Sequence[Cell]) -> dict[str, dict[int, Cell]]:
    """Attack label to seed to cell, of one row. Raises `DataError` where two cells claim one place."""
    out: dict[str, dict[int, Cell]] = {}
    for cell in cells:
        other = out.setdefault(cell.record.attack.label, {}).setdefault(cell.record.seed, cell)
        if other is not cell:
            raise DataError(
                f"{cell.folder} and {other.folder} are the same cell, made by different versions. Remove the older."
            )
    return out


def attack_curve(name: str, cells: dict[int, Cell], paths: PerSeed) -> AttackCurve:
    """The curve of attack ``name``; ``cells`` and ``paths`` (their trajectories) by seed."""
    used = {seed: found for seed, found in paths.items() if found.at_step.size}
    if not used:
        return AttackCurve(name, 0, (), None)
    compute, queries = pooled_spent(used, "compute"), pooled_spent(used, "queries")
    won = [found.so_far.sum(axis=0) for found in used.values()]
    # A seed with a smaller budget keeps its last count.
    counts = np.stack([np.pad(w, (0, len(compute) - len(w)), mode="edge") for w in won])
    rates = pooled_rates(counts, [len(found.examples) for found in used.values()])
    points = [Point(at + 1, rate, known(float(compute[at])), float(queries[at])) for at, rate in enumerate(rates)]
    fit = from_observed(
        {}, from_records([(found, reference_flops(cells[seed].record)) for seed, found in used.items()])
    )
    return AttackCurve(name, len(used), tuple(points), fit)
