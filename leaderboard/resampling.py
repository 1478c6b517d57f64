"""Bootstrap draws of seeds and examples, and where an attack reaches a target ASR in each of them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from leaderboard.trajectories import Trajectories

REPLICATES = 1000
Floats = NDArray[np.float64]
Weights = Mapping[int, tuple[dict[str, int], Floats]]
"""Seed to (example to column, how often each example is drawn [REPLICATES, E])."""
PerSeed = Mapping[int, Trajectories]


def resample(attacks: Mapping[str, PerSeed]) -> Weights:
    """How often each example of each seed is drawn: seeds with replacement, then examples within each drawn seed.

    The same records give the same draws.
    """
    examples: dict[int, set[str]] = {}
    for seeds in attacks.values():
        for seed, found in seeds.items():
            if found.at_step.size:
                examples.setdefault(seed, set()).update(found.examples)
    order = sorted(examples)
    names = {seed: sorted(examples[seed]) for seed in order}
    rng = np.random.default_rng(zlib.crc32(repr(names).encode()))
    drawn = rng.multinomial(len(order), np.full(len(order), 1 / len(order)), size=REPLICATES)
    weights: dict[int, tuple[dict[str, int], Floats]] = {}
    for column, seed in enumerate(order):
        n = len(names[seed])
        # A seed drawn m times brings m fresh draws of its n examples.
        replicate = np.repeat(np.arange(REPLICATES), drawn[:, column] * n)
        picked = replicate * n + rng.integers(0, n, len(replicate))
        counts = np.bincount(picked, minlength=REPLICATES * n).reshape(REPLICATES, n)
        weights[seed] = {name: at for at, name in enumerate(names[seed])}, counts.astype(np.float64)
    return weights


def drawn_reach(seeds: PerSeed, weights: Weights, target: float, length: int) -> Floats:
    """Compute at which ASR so far first reaches ``target`` in each draw, [REPLICATES]; inf where it never does.

    As `first_reach` on the pooled curves, of which only the two columns about each crossing are worked out.
    ``length``: steps of the longest budget; a seed with a smaller one keeps its last value.
    """
    used = [(found, _drawn(found, *weights[seed])) for seed, found in seeds.items() if found.at_step.size]
    total = sum(w.sum(axis=1) for _, w in used)
    won = np.zeros((REPLICATES, length))
    for found, w in used:
        # Grouped by the step of the first success, the running sum over steps is the count of successes.
        first = np.where(found.so_far[:, -1], found.so_far.argmax(axis=1), length)
        for step in np.unique(first[first < length]):
            won[:, step] += w[:, first == step].sum(axis=1)
    # A draw without any of this attack's examples never reaches anything.
    asr = np.cumsum(won, axis=1) / np.where(total > 0, total, 1.0)[:, None]
    hit = asr >= target
    reached = hit.any(axis=1)
    at = hit.argmax(axis=1)
    rows = np.flatnonzero(reached)
    out = np.full(REPLICATES, np.inf)
    if not len(rows):
        return out
    steps, place = np.unique(np.concatenate([at[rows], np.maximum(at[rows] - 1, 0)]), return_inverse=True)
    spent = np.zeros((REPLICATES, len(steps)))
    for found, w in used:
        last = found.compute.shape[1] - 1
        spent += w @ found.compute[:, np.minimum(steps, last)]
    spent /= np.where(total > 0, total, 1.0)[:, None]
    here, before = np.split(place, 2)
    start = at[rows] == 0  # every curve starts at no compute and no success
    x1, x0 = spent[rows, here], np.where(start, 0.0, spent[rows, before])
    y1, y0 = asr[rows, at[rows]], np.where(start, 0.0, asr[rows, np.maximum(at[rows] - 1, 0)])
    rise = np.where(y1 > y0, y1 - y0, 1.0)
    out[rows] = x0 + (target - y0) / rise * (x1 - x0)
    return out


def _drawn(found: Trajectories, columns: Mapping[str, int], counts: Floats) -> Floats:
    return counts[:, [columns[name] for name in found.examples]]
