"""Numbers as the site's data and ``--json`` have them."""

from __future__ import annotations

from typing import Any

from leaderboard.fit.intervals import Rate


def rate_json(rate: Rate) -> dict[str, Any]:
    """value, low, high, successes, trials."""
    return {
        "value": rounded(rate.value),
        "low": rounded(rate.low),
        "high": rounded(rate.high),
        "successes": rate.successes,
        "trials": rate.trials,
    }


def rounded(value: Any, digits: int = 7) -> Any:
    """Significant digits, in lists too: what is shown on hover is then exactly what is in the JSON."""
    if isinstance(value, float):
        found = float(f"{value:.{digits}g}")
        return int(found) if found.is_integer() and abs(found) < 1e15 else found  # shorter, and the same number
    if isinstance(value, (list, tuple)):
        return [rounded(v, digits) for v in value]
    return value
