"""What it costs to break a victim: the compute at which attack success first reaches a target, with an interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from leaderboard.data.trajectories import Trajectories
from leaderboard.fit.crossing import first_reach
from leaderboard.fit.resampling import Weights, drawn_reach, resample

Floats = NDArray[np.float64]
PerSeed = Mapping[int, Trajectories]
Spent = Literal["compute", "queries"]


@dataclass(frozen=True)
class Breaking:
    """Compute per attacked example at which ASR so far first reaches the target, seeds pooled, by the cheapest attack.

    FLOPs, nominal convention. Where no attack that reaches the target has a known compute, the cheapest is the one that
    asks the fewest queries.

    Attributes:
        reached: whether any attack reaches the target.
        compute: None when none does, or where it is unknown.
        low: lower end of the 95% interval; None where compute is unknown. Of a victim that is not broken it may lie
            within the budget: other examples like these might have been broken.
        high: upper end; None when the interval has no upper end within the budget, or where compute is unknown.
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
    return breakings(attacks, target)[0]


def breakings(
    attacks: Mapping[str, PerSeed], target: float, left_out: frozenset[str] = frozenset()
) -> tuple[Breaking | None, dict[str, Breaking]]:
    """`breaking` of all attacks but those ``left_out``, and of each attack alone, from the same draws."""
    usable = {name: seeds for name, seeds in attacks.items() if any(t.at_step.size for t in seeds.values())}
    if not usable:
        return None, {}
    weights = resample(usable)
    found = {name: _Reach(seeds, weights, target) for name, seeds in usable.items()}
    counted = {name: reach for name, reach in found.items() if name not in left_out} or found
    return _cheapest(counted), {name: _cheapest({name: reach}) for name, reach in found.items()}


class _Reach:
    """Where one attack reaches the target: as recorded, and in every draw (inf: never; NaN: compute unknown)."""

    def __init__(self, seeds: PerSeed, weights: Weights, target: float) -> None:
        asr, spent = _pooled(seeds, "compute")
        _, asked = _pooled(seeds, "queries")
        self.compute = float(first_reach(spent, asr, target))
        self.queries = float(first_reach(asked, asr, target))
        self.budget, self.asked = float(spent[-1]), float(asked[-1])
        self.known = not np.isnan(spent).any()
        self.draws = drawn_reach(seeds, weights, target) if self.known else None


def _cheapest(found: Mapping[str, _Reach]) -> Breaking:
    reached = {name: reach for name, reach in found.items() if np.isfinite(reach.compute)}
    if not reached:
        best = min(
            found,
            key=lambda name: (
                found[name].queries,
                -np.nan_to_num(found[name].budget),
                -found[name].asked,
                name,
            ),
        )
        reach = found[best]
        broken = bool(np.isfinite(reach.queries))
        within = None if np.isnan(reach.budget) else reach.budget
        low = None if broken or within is None else min(_interval(found)[0], within)
        return Breaking(broken, None, low, None, best, within, reach.queries if broken else reach.asked)
    best = min(reached, key=lambda name: (reached[name].compute, -reached[name].budget, name))
    reach = reached[best]
    low, high = _interval(found)
    return Breaking(
        True,
        reach.compute,
        min(low, reach.compute),
        high if np.isfinite(high) else None,
        best,
        reach.budget,
        reach.queries,
    )


def _interval(found: Mapping[str, _Reach]) -> tuple[float, float]:
    draws = np.min([reach.draws for reach in found.values() if reach.draws is not None], axis=0)
    # Order statistics, not interpolated ones: some draws never reach the target and are infinite.
    low, high = np.quantile(draws, [0.025, 0.975], method="inverted_cdf")
    return float(low), float(high)


def _pooled(seeds: PerSeed, of: Spent) -> tuple[Floats, Floats]:
    """ASR so far and mean compute or queries, [T] each, over all examples of all seeds. A seed with a smaller budget
    keeps its last value.
    """
    used = [found for found in seeds.values() if found.at_step.size]
    length = max(found.at_step.shape[1] for found in used)
    total = sum(len(found.examples) for found in used)
    won, spent = np.zeros(length), np.zeros(length)
    for found in used:
        won += _to_length(found.won, length)
        spent += _to_length(getattr(found, of).sum(axis=0), length)
    return won / total, spent / total


def _to_length(values: Floats, length: int) -> Floats:
    return np.pad(values, (0, length - len(values)), mode="edge")


def pooled_spent(seeds: PerSeed, of: Spent) -> Floats:
    """Mean compute (FLOPs) or queries per example so far, [T], over all attacked examples of all seeds."""
    return _pooled(seeds, of)[1]
