"""Which of several sizes surely needs more of something than which, and whether that goes with size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from leaderboard.fit.compared.harder_to_break import surely_harder
from leaderboard.fit.compute_to_target import SeedCurves


@dataclass(frozen=True)
class SizeOrder:
    """Pairs of sizes that are told apart; the chance that any of them is wrong is at most 5%.

    Attributes:
        larger_more: pairs of which the larger surely needs more.
        smaller_more: pairs of which the smaller surely needs more.
        pairs: all of them.
    """

    larger_more: int
    smaller_more: int
    pairs: int


def size_order(curves: Sequence[SeedCurves], target: float) -> SizeOrder:
    """Of curves from the smallest size to the largest, each of two seeds or more: by what it takes to reach ``target``,
    as ranks are made (`surely_harder`).
    """
    more = surely_harder([[curve] for curve in curves], target)
    places = [(small, large) for large in range(len(curves)) for small in range(large)]
    return SizeOrder(
        sum(bool(more[large, small]) for small, large in places),
        sum(bool(more[small, large]) for small, large in places),
        len(places),
    )
