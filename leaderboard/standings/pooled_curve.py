"""One attack's success and spending step by step, the examples of all seeds pooled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from leaderboard.arrays import Floats
from leaderboard.data.trajectories import Trajectories, TrajectoriesBySeed
from leaderboard.fit.compute_to_target import SeedCurves, curves_of_seeds
from leaderboard.fit.pooled_rates import shared_example_variance

Value = TypeVar("Value", np.bool_, np.float64)


@dataclass(frozen=True)
class PooledCurve:
    """[T] each, over all attacked examples of all seeds: ASR so far, mean compute (FLOPs, nominal; NaN where unknown)
    and mean queries so far. A seed with a smaller budget keeps its last values.
    """

    asr: Floats
    compute: Floats
    queries: Floats


def with_examples(by_seed: TrajectoriesBySeed) -> dict[int, Trajectories]:
    """The seeds that attacked anything."""
    return {seed: trajectories for seed, trajectories in by_seed.items() if trajectories.at_step.size}


def pooled_curve(by_seed: TrajectoriesBySeed) -> PooledCurve:
    """Of an attack with at least one attacked example."""
    used = list(with_examples(by_seed).values())
    examples = sum(len(trajectories.examples) for trajectories in used)
    return PooledCurve(
        asr=_total([trajectories.broken for trajectories in used]) / examples,
        compute=_total([trajectories.compute.sum(axis=0) for trajectories in used]) / examples,
        queries=_total([trajectories.queries.sum(axis=0) for trajectories in used]) / examples,
    )


def seed_curves(by_seed: TrajectoriesBySeed) -> SeedCurves:
    """Each seed's curve, against the compute of `pooled_curve`; of an attack with at least one attacked example."""
    used = list(with_examples(by_seed).values())
    length = max(trajectories.at_step.shape[1] for trajectories in used)
    return curves_of_seeds(
        [trajectories.examples for trajectories in used],
        [extended_rows(trajectories.so_far, length) for trajectories in used],
        [extended_rows(trajectories.compute, length) for trajectories in used],
    )


def shared_variance(of_seeds: Sequence[Trajectories]) -> Floats | float:
    """`shared_example_variance` of the ASR so far, at each step of the longest curve."""
    length = max(trajectories.at_step.shape[1] for trajectories in of_seeds)
    broken = [extended_rows(trajectories.so_far, length) for trajectories in of_seeds]
    return shared_example_variance([trajectories.examples for trajectories in of_seeds], broken)


def extended_rows(values: NDArray[Value], length: int) -> NDArray[Value]:
    """``values`` [E, T] as [E, length]: the last ones stay."""
    return np.pad(values, ((0, 0), (0, length - values.shape[1])), mode="edge")


def _total(curves: Sequence[Floats]) -> Floats:
    length = max(len(curve) for curve in curves)
    total = np.zeros(length)
    for curve in curves:
        total += extended(curve, length)
    return total


def extended(curve: Floats, length: int) -> Floats:
    """``curve`` [T] as [length]: the last value stays."""
    return np.pad(curve, (0, length - len(curve)), mode="edge")
