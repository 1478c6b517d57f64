"""The draws' crossings are those of whole pooled curves."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings, strategies as st

from leaderboard.data.trajectories import Trajectories
from leaderboard.fit.bootstrap import REPLICATES, bootstrap_crossings, bootstrap_weights
from leaderboard.fit.crossing import first_crossing


def made(rng: np.random.Generator, steps: int, alike: bool) -> Trajectories:
    names = tuple(f"e{at}" for at in sorted(rng.choice(9, int(rng.integers(1, 7)), replace=False).tolist()))
    spent = rng.uniform(0, 5, (1 if alike else len(names), steps)).cumsum(axis=1)
    compute = np.broadcast_to(spent, (len(names), steps)).copy()
    return Trajectories(names, rng.random((len(names), steps)) < 0.15, compute, compute)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.booleans(), st.sampled_from([0.02, 0.3, 0.5, 1.0]))
def test_as_on_whole_curves(number: int, alike: bool, target: float) -> None:
    rng = np.random.default_rng(number)
    seeds = {seed: made(rng, int(rng.integers(1, 6)), alike) for seed in range(int(rng.integers(1, 4)))}
    weights = bootstrap_weights({"attack": seeds, "other": {0: made(rng, 3, alike)}})
    longest = max(found.at_step.shape[1] for found in seeds.values())
    total, won, spent = np.zeros((REPLICATES, 1)), np.zeros((REPLICATES, longest)), np.zeros((REPLICATES, longest))
    for seed, found in seeds.items():
        columns, counts = weights[seed]
        w = counts[:, [columns[name] for name in found.examples]]
        pad = ((0, 0), (0, longest - found.at_step.shape[1]))
        total += w.sum(axis=1, keepdims=True)
        won += w @ np.pad(found.so_far.astype(float), pad, mode="edge")
        spent += w @ np.pad(found.compute, pad, mode="edge")
    safe = np.where(total > 0, total, 1)
    np.testing.assert_allclose(
        bootstrap_crossings(seeds, weights, target), first_crossing(spent / safe, won / safe, target), rtol=1e-9
    )
