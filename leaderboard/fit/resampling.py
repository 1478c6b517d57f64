"""Bootstrap draws of seeds and examples, and where an attack reaches a target ASR in each of them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from leaderboard.data.trajectories import Trajectories

REPLICATES = 1000
Floats = NDArray[np.float64]
Whole = NDArray[np.int64]
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


def drawn_reach(seeds: PerSeed, weights: Weights, target: float) -> Floats:
    """Compute at which ASR so far first reaches ``target`` in each draw, [REPLICATES]; inf where it never does.

    As `first_reach` on the pooled curves, of which only the two points about each crossing are worked out: sorted by
    the step of the first success, the running sum of the drawn examples tells where that is.
    """
    used = [(found, _drawn(found, *weights[seed])) for seed, found in seeds.items() if found.at_step.size]
    first = np.concatenate([_first_success(found) for found, _ in used])
    order = np.argsort(first, kind="stable")
    order = order[first[order] < NEVER]
    drawn = np.concatenate([w for _, w in used], axis=1)
    total = drawn.sum(axis=1, dtype=np.float64)
    out = np.full(REPLICATES, np.inf)
    if not len(order):
        return out
    first = first[order]
    won = np.cumsum(drawn[:, order], axis=1)
    safe = np.where(total > 0, total, 1.0)  # a draw without any of this attack's examples never reaches anything
    hit = won / safe[:, None] >= target
    rows = np.flatnonzero(hit.any(axis=1))
    if not len(rows):
        return out
    at = first[hit[rows].argmax(axis=1)]
    last = np.searchsorted(first, at, side="right") - 1  # all examples that fall at this step count at once
    before = np.searchsorted(first, at, side="left") - 1
    y1 = won[rows, last] / safe[rows]
    y0 = np.where(before >= 0, won[rows, np.maximum(before, 0)], 0.0) / safe[rows]
    x1 = _spent(used, rows, at) / safe[rows]
    x0 = np.where(at > 0, _spent(used, rows, np.maximum(at - 1, 0)), 0.0) / safe[rows]  # nothing is spent at first
    rise = np.where(y1 > y0, y1 - y0, 1.0)
    out[rows] = x0 + (target - y0) / rise * (x1 - x0)
    return out


NEVER = 2**31


def _first_success(found: Trajectories) -> Whole:
    """[E], the step of the first success, from 0; `NEVER` for none."""
    return np.where(found.so_far[:, -1], found.so_far.argmax(axis=1), NEVER)


def _drawn(found: Trajectories, columns: Mapping[str, int], counts: Floats) -> Floats:
    return counts[:, [columns[name] for name in found.examples]]


def _spent(used: Sequence[tuple[Trajectories, Floats]], rows: Whole, at: Whole) -> Floats:
    """Compute spent until step ``at`` in the draws ``rows``, summed over examples; [len(rows)]."""
    spent = np.zeros(len(rows))
    for found, w in used:
        steps = np.minimum(at, found.compute.shape[1] - 1)
        if found.alike:
            spent += w[rows].sum(axis=1) * found.compute[0, steps]
        else:
            spent += np.einsum("ij,ji->i", w[rows], found.compute[:, steps])
    return spent
