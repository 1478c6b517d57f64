"""What was spent on a defense and what it took to reach a target ASR, for each seed and round."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from harness.errors import DataError
from leaderboard.arrays import Booleans, Floats, Integers
from leaderboard.data.count_table import CountTable
from leaderboard.fit.crossing import crossing_bounds, first_crossing


@dataclass(frozen=True)
class OffenseDefensePairs:
    """N (seed, round) pairs; compute as fractions of the reference compute, NaN where unknown.

    Attributes:
        seed: [N].
        defense: [N], defense compute.
        low: [N] and ``high`` [N]: attack compute that was not enough, and that was; high is inf for pairs never broken.
        crossing: [N], where linear interpolation between the two puts it; inf for pairs never broken.
    """

    seed: Integers
    defense: Floats
    low: Floats
    high: Floats
    crossing: Floats

    @property
    def never_broken(self) -> Booleans:
        """[N], whether the target was never reached."""
        never: Booleans = np.isinf(self.crossing)
        return never

    @property
    def on_log_axes(self) -> Booleans:
        """[N], whether a pair can stand on logarithmic axes: its compute is known, and more than nothing."""
        never = self.never_broken
        known = ~np.isnan(self.defense + self.low + np.where(never, 0.0, self.high + self.crossing))
        attack = np.where(never, self.low, self.high)
        positive: Booleans = known & (self.defense > 0) & (attack > 0) & ~(self.crossing == 0)
        return positive

    def subset(self, used: Booleans) -> OffenseDefensePairs:
        """The pairs where ``used``, [N], is true."""
        return OffenseDefensePairs(*(getattr(self, field.name)[used] for field in fields(self)))


def offense_defense_pairs(rows: CountTable, target: float) -> OffenseDefensePairs:
    """The pairs of one group. Raises `DataError` where a pair has several defense computes."""
    pairs: list[tuple[int, float, float, float, float]] = []
    for group, curve in rows.groups(["seed", "round"]):
        order = np.argsort(curve["iteration"], kind="stable")
        compute, asr = curve["attack_compute"][order], curve["successes"][order] / curve["trials"][order]
        low, high = crossing_bounds(compute, asr, target)
        crossing = float(first_crossing(compute, asr, target))
        pairs.append((group["seed"], single_value(curve, "defense_compute"), low, high, crossing))
    seed, *amounts = (np.array(column) for column in zip(*pairs, strict=True))
    return OffenseDefensePairs(seed.astype(np.int64), *(column.astype(np.float64) for column in amounts))


def single_value(curve: CountTable, name: str) -> float:
    """The one value that column ``name`` has in a (seed, round)."""
    values = np.unique(curve[name])
    if len(values) > 1:
        pair = ", ".join(f"{key} {curve[key][0]}" for key in curve.available("seed", "round"))
        raise DataError(
            f"{curve.source}: {pair} has {len(values)} values of {name}. Give each (seed, round) one value."
        )
    return float(values[0])
