"""What it took to reach a target ASR, for each seed and round of a defense."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from leaderboard.data.table import Table
from leaderboard.fit.crossing import first_reach, reached_between

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Reach:
    """N (seed, round) pairs; compute as fractions of the reference compute, NaN where unknown.

    Attributes:
        seed: [N].
        spent: [N], defense compute.
        low: [N] and ``high`` [N]: attack compute that was not enough, and that was; high is inf for pairs never broken.
        at: [N], where linear interpolation between the two puts it; inf for pairs never broken.
    """

    seed: NDArray[np.int64]
    spent: Floats
    low: Floats
    high: Floats
    at: Floats

    @property
    def never(self) -> NDArray[np.bool_]:
        """[N], whether the target was never reached."""
        never: NDArray[np.bool_] = np.isinf(self.at)
        return never

    @property
    def on_axes(self) -> NDArray[np.bool_]:
        """[N], whether a pair can stand on logarithmic axes: its compute is known, and more than nothing."""
        known = ~np.isnan(self.spent + self.low + np.where(self.never, 0.0, self.high + self.at))
        spent = np.where(self.never, self.low, self.high)
        on_axes: NDArray[np.bool_] = known & (self.spent > 0) & (spent > 0) & ~(self.at == 0)
        return on_axes

    def only(self, use: NDArray[np.bool_]) -> Reach:
        """Some of the pairs."""
        return Reach(self.seed[use], self.spent[use], self.low[use], self.high[use], self.at[use])


def reach(rows: Table, target: float) -> Reach:
    """The pairs of one group. Raises `DataError` where a pair has several defense computes."""
    found: list[tuple[int, float, float, float, float]] = []
    for pair, curve in rows.groups(["seed", "round"]):
        order = np.argsort(curve["iteration"], kind="stable")
        compute, asr = curve["attack_compute"][order], curve["successes"][order] / curve["trials"][order]
        low, high = reached_between(compute, asr, target)
        found.append(
            (pair["seed"], one_value(curve, "defense_compute"), low, high, float(first_reach(compute, asr, target)))
        )
    seed, *rest = (np.array(column) for column in zip(*found, strict=True))
    return Reach(seed.astype(np.int64), *(column.astype(np.float64) for column in rest))


def one_value(curve: Table, name: str) -> float:
    """The one value that column ``name`` has in a (seed, round)."""
    values = np.unique(curve[name])
    if len(values) > 1:
        of = ", ".join(f"{key} {curve[key][0]}" for key in curve.keys("seed", "round"))
        raise DataError(f"{curve.source}: {of} has {len(values)} values of {name}. Give each (seed, round) one value.")
    return float(values[0])
