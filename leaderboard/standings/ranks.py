"""Ranks by what it costs to break: rows whose intervals overlap are not told apart."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from leaderboard.standings.cost_to_break import CostToBreak


def cost_bounds(cost: CostToBreak | None) -> tuple[float, float] | None:
    """The 95% interval of the compute to the target, infinite above where it has no end; None where compute is unknown
    or nothing was attacked.
    """
    if cost is None or cost.low is None:
        return None
    return cost.low, inf if cost.compute is None or cost.high is None else cost.high


def ranks(costs: Sequence[CostToBreak | None], divisors: Sequence[float] | None = None) -> list[int | None]:
    """1 plus the number of rows that are surely harder to break: those whose interval lies wholly above this row's.

    So rows share a rank unless their intervals are apart, and no row is ranked below another that it may beat. A row of
    unknown compute has none.

    Args:
        divisors: what the compute of each row is a multiple of; FLOPs where left out.
    """
    intervals = [
        None if bounds is None else (bounds[0] / divisor, bounds[1] / divisor)
        for bounds, divisor in zip(map(cost_bounds, costs), divisors or [1.0] * len(costs), strict=True)
    ]
    lows = [interval[0] for interval in intervals if interval is not None]
    return [None if interval is None else 1 + sum(low > interval[1] for low in lows) for interval in intervals]
