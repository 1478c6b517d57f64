"""What it costs to break a victim: the compute at which attack success first reaches a target, with an interval."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from leaderboard.crossing import first_reach
from leaderboard.trajectories import Trajectories

REPLICATES = 1000
Floats = NDArray[np.float64]
PerSeed = Mapping[int, Trajectories]


@dataclass(frozen=True)
class Breaking:
    """Compute per attacked example at which ASR so far first reaches the target, seeds pooled, by the cheapest attack.

    FLOPs, nominal convention. Where no attack that reaches the target has a known compute, the cheapest is the one that
    asks the fewest queries.

    Attributes:
        reached: whether any attack reaches the target.
        compute: None when none does, or where it is unknown.
        low: lower end of the 95% interval; None where ``compute`` is.
        high: upper end; None when the interval has no upper end within the budget, or where ``compute`` is.
        attack: the cheapest attack; when none reaches the target, the one that spent most.
        within: mean compute per example of the full budget of that attack; None where it is unknown.
        queries: mean queries per example at which that attack reaches the target; its full budget when it does not.
    """

    reached: bool
    compute: float | None
    low: float | None
    high: float | None
    attack: str
    within: float | None
    queries: float


def breaking(attacks: Mapping[str, PerSeed], target: float) -> Breaking | None:
    """The cheapest attack's compute to ``target``; None when no attack has an attacked example.

    The interval is a percentile bootstrap: seeds are drawn with replacement, then examples within each drawn seed, the
    same examples for all attacks, and the cheapest attack is chosen anew each time. With few seeds the draw of seeds
    is coarse, and with one seed the spread over seeds is left out.
    """
    usable = {name: seeds for name, seeds in attacks.items() if any(t.at_step.size for t in seeds.values())}
    if not usable:
        return None
    at = {name: float(_reach(seeds, None, target)[0]) for name, seeds in usable.items()}
    asked = {name: float(_reach(seeds, None, target, "queries")[0]) for name, seeds in usable.items()}
    budget = {name: float(_pooled(seeds, None)[1][0, -1]) for name, seeds in usable.items()}
    queries = {name: float(_pooled(seeds, None, "queries")[1][0, -1]) for name, seeds in usable.items()}
    known = {name: seeds for name, seeds in usable.items() if np.isfinite(at[name])}
    if not known:
        best = min(asked, key=lambda name: (asked[name], -np.nan_to_num(budget[name]), -queries[name], name))
        within = None if np.isnan(budget[best]) else budget[best]
        reached = bool(np.isfinite(asked[best]))
        return Breaking(reached, None, None, None, best, within, asked[best] if reached else queries[best])
    best = min(known, key=lambda name: (at[name], -budget[name], name))
    weights = _resample(usable)
    draws = np.min([_reach(seeds, weights, target) for seeds in _all_known(usable).values()], axis=0)
    # Order statistics, not interpolated ones: some draws never reach the target and are infinite.
    low, high = np.quantile(draws, [0.025, 0.975], method="inverted_cdf")
    return Breaking(
        True,
        at[best],
        min(float(low), at[best]),
        float(high) if np.isfinite(high) else None,
        best,
        budget[best],
        asked[best],
    )


def _all_known(attacks: Mapping[str, PerSeed]) -> dict[str, PerSeed]:
    return {name: seeds for name, seeds in attacks.items() if not np.isnan(_pooled(seeds, None)[1]).any()}


Weights = Mapping[int, Mapping[str, Floats]]


def _resample(attacks: Mapping[str, PerSeed]) -> Weights:
    """How often each example of each seed is drawn, [REPLICATES] each. The same records give the same draws."""
    examples: dict[int, set[str]] = {}
    for seeds in attacks.values():
        for seed, found in seeds.items():
            if found.at_step.size:
                examples.setdefault(seed, set()).update(found.examples)
    order = sorted(examples)
    names = {seed: sorted(examples[seed]) for seed in order}
    rng = np.random.default_rng(zlib.crc32(repr(names).encode()))
    drawn = rng.multinomial(len(order), np.full(len(order), 1 / len(order)), size=REPLICATES)
    weights: dict[int, dict[str, Floats]] = {}
    for column, seed in enumerate(order):
        n = len(names[seed])
        # The sum of m multinomial draws of n is one of m·n: a seed drawn m times brings m fresh draws of its examples.
        counts = rng.multinomial(drawn[:, column] * n, np.full(n, 1 / n)).astype(np.float64)
        weights[seed] = {name: counts[:, at] for at, name in enumerate(names[seed])}
    return weights


Spent = Literal["compute", "queries"]


def _reach(seeds: PerSeed, weights: Weights | None, target: float, of: Spent = "compute") -> Floats:
    asr, spent = _pooled(seeds, weights, of)
    return first_reach(spent, asr, target)


def _pooled(seeds: PerSeed, weights: Weights | None, of: Spent = "compute") -> tuple[Floats, Floats]:
    """ASR so far and mean compute or queries, [B, T] each, over all examples of all seeds, weighted; B = 1 without
    weights.
    """
    length = max(found.at_step.shape[1] for found in seeds.values())
    replicates = 1 if weights is None else REPLICATES
    total = np.zeros((replicates, 1))
    won, spent = np.zeros((replicates, length)), np.zeros((replicates, length))
    for seed, found in seeds.items():
        if not found.at_step.size:
            continue
        w = (
            np.ones((1, len(found.examples)))
            if weights is None
            else np.stack([weights[seed][e] for e in found.examples], axis=1)
        )
        total += w.sum(axis=1, keepdims=True)
        won += w @ _padded(found.so_far.astype(np.float64), length)
        spent += w @ _padded(getattr(found, of), length)
    # A draw without any of this attack's examples never reaches anything.
    safe = np.where(total > 0, total, 1.0)
    return won / safe, spent / safe


def _padded(values: Floats, length: int) -> Floats:
    """A seed with a smaller budget keeps its last value."""
    return np.pad(values, ((0, 0), (0, length - values.shape[1])), mode="edge")


def pooled_spent(seeds: PerSeed, of: Spent) -> Floats:
    """Mean compute (FLOPs) or queries per example so far, [T], over all attacked examples of all seeds."""
    spent: Floats = _pooled(seeds, None, of)[1][0]
    return spent
