"""Ranks by what it costs to break: rows whose intervals overlap are not told apart."""

from __future__ import annotations

from collections.abc import Sequence

from leaderboard.standings.cost_to_break import Breaking

INFINITE = float("inf")


def bounds(found: Breaking | None) -> tuple[float, float] | None:
    """The 95% interval of the compute to the target, infinite above where it has no end; None where compute is unknown
    or nothing was attacked.
    """
    if found is None or found.low is None:
        return None
    if found.compute is None:
        return found.low, INFINITE
    return found.low, INFINITE if found.high is None else found.high


def ranks(found: Sequence[Breaking | None]) -> list[int | None]:
    """1 plus the number of rows that are surely harder to break: those whose interval lies wholly above this row's.

    So rows share a rank unless their intervals are apart, and no row is ranked below another that it may beat. A row of
    unknown compute has none.
    """
    intervals = [bounds(each) for each in found]
    lows = [interval[0] for interval in intervals if interval is not None]
    return [None if each is None else 1 + sum(low > each[1] for low in lows) for each in intervals]
