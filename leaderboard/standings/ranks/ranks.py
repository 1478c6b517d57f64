"""Ranks by what it costs to break: no row is ranked above another that it is not surely harder to break than."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from leaderboard.fit.compared.harder_to_break import surely_harder
from leaderboard.fit.compute_to_target import SeedCurves

MIN_SEEDS = 2  # one model says nothing of how models that are trained the same way differ
ONE_SEED = "one seed"
NOT_TOLD_APART = "not told apart"


@dataclass(frozen=True)
class Rank:
    """Where a row may stand, 1 being hardest to break.

    Attributes:
        best: 1 plus the number of rows that are surely harder to break; None where the data carry no rank.
        worst: ``among`` less the rows that are surely easier; None likewise.
        note: why there is none, or "".
        among: how many rows are ranked together, this one included; None without a rank.
        harder_than: the rows that this one is surely harder to break than, by their place in the table.
    """

    best: int | None
    worst: int | None
    note: str = ""
    among: int | None = None
    harder_than: tuple[int, ...] = ()

    @property
    def comparable(self) -> bool:
        """Whether the row may be compared with the others of its table, told apart or not."""
        return self.best is not None or self.note in (ONE_SEED, NOT_TOLD_APART)


NO_RANK = Rank(None, None)


def ranks(
    rows: Sequence[Sequence[SeedCurves]],
    target: float,
    divisors: Sequence[float] | None = None,
    groups: Sequence[Hashable] | None = None,
) -> list[Rank]:
    """Of rows given by the curves of their attacks; a row without a curve has no rank.

    A row has none either where an attack was run under a single seed, or where it is told from no other row. The chance
    that any row of a table is ranked wrongly against any other is at most 5% (see `surely_harder`).

    Args:
        target: attack success rate that counts as broken.
        divisors: what the compute of each row is a multiple of; that of the curves where left out.
        groups: which group each row is ranked in; all in one where left out.
    """
    units, named = divisors or [1.0] * len(rows), groups or [None] * len(rows)
    ranked = [index for index, curves in enumerate(rows) if curves and _seeds(curves) >= MIN_SEEDS]
    harder = surely_harder(
        [[replace(curve, compute=curve.compute / units[index]) for curve in rows[index]] for index in ranked],
        target,
        [named[index] for index in ranked],
    )
    sizes = Counter(named[index] for index in ranked)
    found = [Rank(None, None, ONE_SEED) if curves else NO_RANK for curves in rows]
    for index, above, easier in zip(ranked, harder.sum(axis=0), harder, strict=True):
        among = sizes[named[index]]
        below = tuple(ranked[other] for other in np.flatnonzero(easier))
        rank = Rank(1 + int(above), among - len(below), among=among, harder_than=below)
        found[index] = rank if above or below else Rank(None, None, NOT_TOLD_APART)
    return found


def _seeds(curves: Sequence[SeedCurves]) -> int:
    return int(np.min([len(curve.trials) for curve in curves]))
