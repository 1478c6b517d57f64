"""First successes as intervals of log10 compute: what was not enough, and what was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from leaderboard.data.table import Table
from leaderboard.data.trajectories import Trajectories
from leaderboard.fit.likelihood.rows import CountRows, Floats, Whole

Kind = Literal["so_far", "at_step"]


@dataclass(frozen=True)
class Observed:
    """What a curve is fitted to.

    Attributes:
        rows: with a design of ones; a seed is a cluster.
        kind: whether a row is an example's first success (or its absence), or a count at a step.
        examples: attacked examples with known compute, all seeds together.
        successes: examples broken within the budget (at_step: at the last step).
        later: of these, after more than the first step; all of them at_step.
        dropped: examples that fell, or were left, before anything was spent, and those of unknown compute.
        seeds: how many, those without a usable row too.
    """

    rows: CountRows
    kind: Kind
    examples: int
    successes: int
    later: int
    dropped: int
    seeds: int


def from_records(cells: Sequence[tuple[Trajectories, float]]) -> Observed:
    """One curve's cells, one per seed: trajectories and reference compute (FLOPs, NaN where unknown)."""
    names: dict[str, int] = {}
    parts = []
    for paths, reference in cells:
        if paths.at_step.size:
            unit = np.array([names.setdefault(name, len(names)) for name in paths.examples], dtype=np.int64)
            parts.append((*_intervals(paths, reference), unit))
    return _observed(parts, "so_far", [np.ones(len(low)) for low, _, _ in parts])


def _intervals(paths: Trajectories, reference: float) -> tuple[Floats, Floats]:
    """Each example's first success lies in (low, high] of log10 compute; NaN where compute is unknown, and high is
    -inf for a success that took nothing.
    """
    won = paths.so_far[:, -1]
    step = np.where(won, paths.at_step.argmax(axis=1), paths.at_step.shape[1] - 1)
    each = np.arange(len(won))
    spent = paths.compute[each, step]
    before = (paths.compute < spent[:, None]).sum(axis=1)  # steps that cost less; a step may cost nothing more
    less = np.where(before > 0, paths.compute[each, np.maximum(before - 1, 0)], 0.0)
    less[np.isnan(spent)] = np.nan
    with np.errstate(divide="ignore"):
        low, high = np.log10(np.where(won, less, spent) / reference), np.log10(spent / reference)
    return low, np.where(won | np.isnan(high), high, np.inf)


def from_counts(rows: Table, kind: Kind | None = None) -> Observed:
    """One curve's rows of a table. Counts of a seed that never fall, of the same trials, are successes so far: their
    increments are first successes. All others, and all with ``kind`` at_step, are successes at each step.
    """
    seeds = [_by_compute(seed) for _, seed in rows.groups(["seed"])]
    falls = any((np.diff(won) < 0).any() or len(np.unique(tried)) > 1 for _, won, tried in seeds)
    at_step = kind == "at_step" or falls
    parts, weights = [], []
    for compute, won, tried in seeds:
        with np.errstate(divide="ignore"):
            place = np.log10(compute)
        if at_step:
            paid = compute > 0  # NaN too: unknown
            none = np.full(int(paid.sum()), -np.inf)
            low, high = np.concatenate([none, place[paid]]), np.concatenate([place[paid], -none])
            # Steps follow the same examples: together they weigh as much as these do once.
            weights.append(np.concatenate([won[paid], (tried - won)[paid]]) / max(1, paid.sum()))
        else:
            low, high = np.append(-np.inf, place), np.append(place, np.inf)
            weights.append(np.append(np.diff(won, prepend=0.0), tried[-1] - won[-1]))
        parts.append((low, high, np.empty(0, dtype=np.int64)))
    return _observed(parts, "at_step" if at_step else "so_far", weights)


def _by_compute(seed: Table) -> tuple[Floats, Floats, Floats]:
    """Compute, successes and trials of one seed, the last at each amount of compute."""
    order = np.argsort(seed["iteration"], kind="stable")
    compute = seed["attack_compute"][order]
    last = np.append(np.diff(compute) != 0, True)
    won, tried = (seed[name][order][last].astype(np.float64) for name in ("successes", "trials"))
    return compute[last], won, tried


def _observed(parts: Sequence[tuple[Floats, Floats, Whole]], kind: Kind, weights: Sequence[Floats]) -> Observed:
    kept: list[tuple[Floats, Floats, Floats, Whole]] = []
    dropped = 0.0
    for (low, high, unit), weight in zip(parts, weights, strict=True):
        use = (
            (weight > 0) & ~np.isnan(low) & ~np.isnan(high) & (np.isfinite(low) | np.isfinite(high)) & (high > -np.inf)
        )
        dropped += float(weight[~use].sum())
        if use.any():
            kept.append((low[use], high[use], weight[use], unit[use] if len(unit) else unit))
    cluster = np.repeat(np.arange(len(kept)), [len(part[0]) for part in kept])
    low, high, weight = (np.concatenate([part[at] for part in kept] or [np.empty(0)]) for at in range(3))
    unit = np.concatenate([part[3] for part in kept] or [np.empty(0, dtype=np.int64)])
    rows = CountRows(low, high, weight, cluster, np.ones((len(low), 1)), unit)
    won = np.isfinite(high)
    later = won if kind == "at_step" else won & np.isfinite(low)
    total, successes, late = (round(float(weight[mask].sum())) for mask in (np.ones_like(won), won, later))
    return Observed(rows, kind, total, successes, late, round(dropped), len(parts))
