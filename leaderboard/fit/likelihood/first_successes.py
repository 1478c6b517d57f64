"""First successes as intervals of log10 compute: what was not enough, and what was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from leaderboard.arrays import Floats, Integers
from leaderboard.data.count_table import CountTable
from leaderboard.data.trajectories import AsrKind, Trajectories
from leaderboard.fit.likelihood.observations import Observations

_UNKNOWN_EXAMPLES = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class FirstSuccesses:
    """What a curve is fitted to.

    Attributes:
        observations: with a design of ones; a seed is a cluster.
        kind: so_far: an observation is an example's first success (or its absence); at_step: a count at a step.
        examples: attacked examples with known compute, all seeds together.
        successes: examples broken within the budget (at_step: at the last step).
        later: of these, after more than the first step; all of them at_step.
        dropped: examples that fell, or were left, before anything was spent, and those of unknown compute.
        unspent: of the dropped, those of which it is known that nothing was spent.
        seeds: how many, those without a usable observation too.
    """

    observations: Observations
    kind: AsrKind
    examples: int
    successes: int
    later: int
    dropped: int
    unspent: int
    seeds: int


class _SeedIntervals(NamedTuple):
    """Intervals (low, high] of one seed, how many observations each stands for, and of which example."""

    low: Floats
    high: Floats
    weight: Floats
    example: Integers


def first_successes_of_trajectories(cells: Sequence[tuple[Trajectories, float]]) -> FirstSuccesses:
    """Those of one curve's cells, one per seed: trajectories and reference compute (FLOPs, NaN where unknown)."""
    numbers: dict[str, int] = {}
    seeds = []
    for trajectories, reference in cells:
        if trajectories.at_step.size:
            examples = [numbers.setdefault(example, len(numbers)) for example in trajectories.examples]
            low, high = _intervals(trajectories, reference)
            seeds.append(_SeedIntervals(low, high, np.ones(len(low)), np.array(examples, dtype=np.int64)))
    return _combined(seeds, "so_far")


def _intervals(trajectories: Trajectories, reference: float) -> tuple[Floats, Floats]:
    """Each example's first success lies in (low, high] of log10 compute; NaN where compute is unknown, and high is
    -inf for a success that took nothing.
    """
    broken = trajectories.so_far[:, -1]
    step = np.where(broken, trajectories.at_step.argmax(axis=1), trajectories.at_step.shape[1] - 1)
    row = np.arange(len(broken))
    spent = trajectories.compute[row, step]
    cheaper = (trajectories.compute < spent[:, None]).sum(axis=1)  # steps that cost less; a step may cost nothing more
    before = np.where(cheaper > 0, trajectories.compute[row, np.maximum(cheaper - 1, 0)], 0.0)
    before[np.isnan(spent)] = np.nan
    with np.errstate(divide="ignore"):
        low, high = np.log10(np.where(broken, before, spent) / reference), np.log10(spent / reference)
    return low, np.where(broken | np.isnan(high), high, np.inf)


def first_successes_of_counts(rows: CountTable, kind: AsrKind | None = None) -> FirstSuccesses:
    """Those of one curve's rows of a table. Counts of a seed that never fall, of the same trials, are successes so far:
    their increments are first successes. All others, and all with ``kind`` at_step, are successes at each step.
    """
    counts = [_by_compute(seed_rows) for _, seed_rows in rows.groups(["seed"])]
    falls = any((np.diff(successes) < 0).any() or len(np.unique(trials)) > 1 for _, successes, trials in counts)
    at_step = kind == "at_step" or falls
    seeds = []
    for compute, successes, trials in counts:
        with np.errstate(divide="ignore"):
            log_compute = np.log10(compute)
        if at_step:
            paid = compute > 0  # not where it is NaN, unknown
            unbounded = np.full(int(paid.sum()), np.inf)
            low, high = (
                np.concatenate([-unbounded, log_compute[paid]]),
                np.concatenate([log_compute[paid], unbounded]),
            )
            # Steps follow the same examples: together they weigh as much as these do once.
            weight = np.concatenate([successes[paid], (trials - successes)[paid]]) / max(1, paid.sum())
        else:
            low, high = np.append(-np.inf, log_compute), np.append(log_compute, np.inf)
            weight = np.append(np.diff(successes, prepend=0.0), trials[-1] - successes[-1])
        seeds.append(_SeedIntervals(low, high, weight, _UNKNOWN_EXAMPLES))
    return _combined(seeds, "at_step" if at_step else "so_far")


def _by_compute(rows: CountTable) -> tuple[Floats, Floats, Floats]:
    """Compute, successes and trials of one seed, the last at each amount of compute."""
    order = np.argsort(rows["iteration"], kind="stable")
    compute = rows["attack_compute"][order]
    last = np.append(np.diff(compute) != 0, True)
    successes, trials = (rows[name][order][last].astype(np.float64) for name in ("successes", "trials"))
    return compute[last], successes, trials


def _combined(seeds: Sequence[_SeedIntervals], kind: AsrKind) -> FirstSuccesses:
    """All seeds' intervals that say something."""
    kept: list[_SeedIntervals] = []
    dropped = unspent = 0.0
    for low, high, weight, example in seeds:
        known = ~np.isnan(low) & ~np.isnan(high)
        used = (weight > 0) & known & (np.isfinite(low) | np.isfinite(high)) & (high > -np.inf)
        dropped += float(weight[~used].sum())
        unspent += float(weight[~used & known].sum())
        if used.any():
            numbers = example[used] if len(example) else example
            kept.append(_SeedIntervals(low[used], high[used], weight[used], numbers))
    cluster = np.repeat(np.arange(len(kept)), [len(seed.low) for seed in kept])
    low, high, weight = (np.concatenate([seed[at] for seed in kept] or [np.empty(0)]) for at in range(3))
    example = np.concatenate([seed.example for seed in kept] or [_UNKNOWN_EXAMPLES])
    broken = np.isfinite(high)
    later = broken if kind == "at_step" else broken & np.isfinite(low)
    return FirstSuccesses(
        observations=Observations(low, high, weight, cluster, np.ones((len(low), 1)), example),
        kind=kind,
        examples=round(float(weight.sum())),
        successes=round(float(weight[broken].sum())),
        later=round(float(weight[later].sum())),
        dropped=round(dropped),
        unspent=round(unspent),
        seeds=len(seeds),
    )
