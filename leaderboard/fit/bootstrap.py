"""Bootstrap over seeds and examples: the compute at which an attack reaches a target ASR, in each replicate."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from leaderboard.arrays import Floats, Integers
from leaderboard.data.trajectories import Trajectories, TrajectoriesBySeed
from leaderboard.fit.crossing import interpolated_crossing

REPLICATES = 1000
NEVER = 2**31  # step of the first success of an example that was never broken
BootstrapWeights = Mapping[int, tuple[dict[str, int], Floats]]
"""Seed to (example to column, how often each example is drawn [REPLICATES, E])."""


def bootstrap_weights(attacks: Mapping[str, TrajectoriesBySeed]) -> BootstrapWeights:
    """How often each example of each seed is drawn: seeds with replacement, then examples within each drawn seed.

    The same records give the same draws. (scipy's bootstrap draws at one level alone.)
    """
    examples_of_seed: dict[int, set[str]] = {}
    for by_seed in attacks.values():
        for seed, trajectories in by_seed.items():
            if trajectories.at_step.size:
                examples_of_seed.setdefault(seed, set()).update(trajectories.examples)
    seeds = sorted(examples_of_seed)
    examples = {seed: sorted(examples_of_seed[seed]) for seed in seeds}
    rng = np.random.default_rng(zlib.crc32(repr(examples).encode()))
    seed_draws = rng.multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), size=REPLICATES)
    weights: dict[int, tuple[dict[str, int], Floats]] = {}
    for column, seed in enumerate(seeds):
        n = len(examples[seed])
        # A seed drawn m times brings m fresh draws of its n examples.
        replicate = np.repeat(np.arange(REPLICATES), seed_draws[:, column] * n)
        cell = replicate * n + rng.integers(0, n, len(replicate))
        counts = np.bincount(cell, minlength=REPLICATES * n).reshape(REPLICATES, n)
        weights[seed] = {example: index for index, example in enumerate(examples[seed])}, counts.astype(np.float64)
    return weights


def bootstrap_crossings(by_seed: TrajectoriesBySeed, weights: BootstrapWeights, target: float) -> Floats:
    """Compute at which ASR so far first reaches ``target`` in each replicate, [REPLICATES]; inf where it never does.

    As `first_crossing` on the pooled curves, of which only the two points about each crossing are worked out: sorted by
    the step of the first success, the running sum of the drawn examples tells where that is.
    """
    weighted = [(t, _weights_of(t, *weights[seed])) for seed, t in by_seed.items() if t.at_step.size]
    first_step = np.concatenate([_first_success(trajectories) for trajectories, _ in weighted])
    order = np.argsort(first_step, kind="stable")
    order = order[first_step[order] < NEVER]
    counts = np.concatenate([counts for _, counts in weighted], axis=1)
    total = counts.sum(axis=1, dtype=np.float64)
    crossings = np.full(REPLICATES, np.inf)
    if not len(order):
        return crossings
    first_step = first_step[order]
    broken = np.cumsum(counts[:, order], axis=1)
    examples = np.where(total > 0, total, 1.0)  # a replicate without any of this attack's examples never reaches it
    reached = broken / examples[:, None] >= target
    rows = np.flatnonzero(reached.any(axis=1))
    if not len(rows):
        return crossings
    step = first_step[reached[rows].argmax(axis=1)]
    last = np.searchsorted(first_step, step, side="right") - 1  # all examples that fall at this step count at once
    before = np.searchsorted(first_step, step, side="left") - 1
    y1 = broken[rows, last] / examples[rows]
    y0 = np.where(before >= 0, broken[rows, np.maximum(before, 0)], 0.0) / examples[rows]
    x1 = _total_compute(weighted, rows, step) / examples[rows]
    compute_before = _total_compute(weighted, rows, np.maximum(step - 1, 0))
    x0 = np.where(step > 0, compute_before, 0.0) / examples[rows]  # nothing is spent before the first step
    crossings[rows] = interpolated_crossing(x0, x1, y0, y1, target)
    return crossings


def _first_success(trajectories: Trajectories) -> Integers:
    """[E], the step of the first success, from 0; `NEVER` for none."""
    return np.where(trajectories.so_far[:, -1], trajectories.so_far.argmax(axis=1), NEVER)


def _weights_of(trajectories: Trajectories, columns: Mapping[str, int], counts: Floats) -> Floats:
    return counts[:, [columns[example] for example in trajectories.examples]]


def _total_compute(weighted: Sequence[tuple[Trajectories, Floats]], rows: Integers, step: Integers) -> Floats:
    """Compute spent until ``step`` in the replicates ``rows``, summed over examples; [len(rows)]."""
    total = np.zeros(len(rows))
    for trajectories, counts in weighted:
        steps = np.minimum(step, trajectories.compute.shape[1] - 1)
        if trajectories.equal_compute:
            total += counts[rows].sum(axis=1) * trajectories.compute[0, steps]
        else:
            total += np.einsum("ij,ji->i", counts[rows], trajectories.compute[:, steps])
    return total
