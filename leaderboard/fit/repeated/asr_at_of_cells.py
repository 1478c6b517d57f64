"""ASR@j of one attack on one victim and defense, from the drawn answers in its records."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from harness.records.read import Cell
from leaderboard.data.sampled_answers import SampledAnswers, read_sampled_answers
from leaderboard.data.trajectories import Trajectories
from leaderboard.fit.repeated.asr_at import AsrAt, chance_so_far, mean_chance


def asr_at_of_cells(cells: Mapping[int, Cell], by_seed: Mapping[int, Trajectories]) -> tuple[AsrAt, ...]:
    """At full budget, for j = 1, 2, 4, … and as many answers as there are to each string; empty where answers are not
    drawn.

    Args:
        cells, by_seed: the attack's, and their trajectories, by seed; those with an attacked example.
    """
    found = [
        (trajectories, sampled)
        for seed, trajectories in by_seed.items()
        if (sampled := read_sampled_answers(cells[seed], trajectories.examples, trajectories.at_step.shape[1]))
    ]
    if not found or len(found) < len(by_seed):
        return ()
    samples = min(sampled.samples for _, sampled in found)
    return tuple(_asr_at(asks, found) for asks in asks_shown(samples))


def asks_shown(samples: int) -> list[int]:
    """1, 2, 4, … and ``samples``."""
    return sorted({samples, *(2**power for power in range(samples.bit_length()))})


def _asr_at(asks: int, found: list[tuple[Trajectories, SampledAnswers]]) -> AsrAt:
    chances = [chance_so_far(sampled.broken, sampled.told, asks) for _, sampled in found]
    value, low, high = mean_chance(chances, [trajectories.examples for trajectories, _ in found])
    compute, queries = [], []
    for trajectories, sampled in found:
        asked, own = sampled.asked, sampled.own.sum(axis=1)
        compute.append(trajectories.compute[:, -1] - own + asks * (sampled.nominal * asked).sum(axis=1))
        queries.append(trajectories.queries[:, -1] + (asks - sampled.asks) * asked.sum(axis=1))
    return AsrAt(
        asks=asks,
        value=value,
        low=low,
        high=high,
        examples=sum(map(len, chances)),
        seeds=len(chances),
        compute=float(np.concatenate(compute).mean()),
        queries=float(np.concatenate(queries).mean()),
    )
