"""How often the interval of a tuned attack against itself as it was holds the truth, simulated."""

from __future__ import annotations

import numpy as np
import pytest

from leaderboard.data.trajectories import Trajectories
from leaderboard.tuned.against_untuned import at_compute

STEPS, BUDGET = 12, 5.0


def trajectories(chance: np.ndarray, rng: np.random.Generator, *, stops: bool) -> Trajectories:
    """An attack that breaks each example with its own chance per step, and ``stops`` at success or not."""
    first = rng.geometric(chance)
    step = np.arange(1, STEPS + 1)
    so_far = first[:, None] <= step
    compute = np.minimum(step, first[:, None]) if stops else np.broadcast_to(step, so_far.shape)
    names = tuple(f"e{at:04d}" for at in range(len(chance)))
    return Trajectories(names, so_far, compute.astype(np.float64), compute.astype(np.float64))


def covered(examples: int, stops: bool, repetitions: int) -> float:
    """Share of simulated comparisons whose 95% interval holds the difference in the population."""
    rng = np.random.default_rng(0)
    population = rng.beta(0.5, 4, 200_000).clip(1e-4, 1 - 1e-4)
    better = np.minimum(2 * population, 0.999)
    step = np.arange(1, STEPS + 1)
    until_success = (1 - (1 - population[:, None]) ** step) / population[:, None]
    spent = until_success if stops else np.broadcast_to(step, (1, STEPS))
    at = int((spent.mean(axis=0) <= BUDGET).sum())
    truth = float((1 - (1 - better) ** STEPS).mean() - (1 - (1 - population) ** at).mean())
    hits = 0
    for _ in range(repetitions):
        drawn = rng.integers(len(population), size=examples)
        pair = [trajectories(one[drawn], rng, stops=stops) for one in (better, population)]
        found = at_compute("with the search", BUDGET, [pair], pair[1].compute.mean(axis=0), one_model=True).difference
        assert found is not None
        hits += found.low <= truth <= found.high
    return hits / repetitions


@pytest.mark.parametrize(("stops", "least"), [(False, 0.92), (True, 0.88)])
def test_the_interval_holds(stops: bool, least: float) -> None:
    """Where searches stop at success, what a step costs depends on outcomes: a little less often, as the page says."""
    assert least <= covered(120, stops, 250) <= 0.99
