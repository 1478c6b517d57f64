"""Numbers as the site's data and ``--json`` have them."""

from __future__ import annotations

from typing import Any, TypedDict

from leaderboard.fit.pooled_rates import Rate


class RateJson(TypedDict):
    """A rate: the share, its 95% interval (with one seed over the examples of this one model alone), and the counts."""

    value: float
    low: float
    high: float
    successes: int
    trials: int
    seeds: int


def rate_json(rate: Rate) -> RateJson:
    """``rate``, rounded."""
    return {
        "value": rounded(rate.value),
        "low": rounded(rate.low),
        "high": rounded(rate.high),
        "successes": rate.successes,
        "trials": rate.trials,
        "seeds": rate.seeds,
    }


def rounded(value: Any, digits: int = 7) -> Any:
    """Significant digits, in lists too: what is shown on hover is then exactly what is in the JSON."""
    if isinstance(value, float):
        short = float(f"{value:.{digits}g}")
        return int(short) if short.is_integer() and abs(short) < 1e15 else short  # shorter, and the same number
    if isinstance(value, (list, tuple)):
        return [rounded(item, digits) for item in value]
    return value
