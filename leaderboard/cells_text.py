"""What stands in a standings cell: a main line and a finer one, the same in the terminal and on the page."""

from __future__ import annotations

from leaderboard.intervals import Rate
from leaderboard.standings import Standing
from leaderboard.words import UNKNOWN_COMPUTE, multiple, percent, scientific

Pair = tuple[str, str]
NOTHING: Pair = ("–", "Not enough data: nothing was attacked")


def clean_text(row: Standing) -> Pair:
    """Clean accuracy and its interval."""
    return ("–", "Not enough data: no clean example") if row.clean is None else _rate(row.clean)


def asr_text(row: Standing) -> Pair:
    """ASR at full budget, its interval and the attack that reached it."""
    if row.strongest is None:
        return NOTHING
    main, fine = _rate(row.strongest.points[-1].asr)
    return main, f"{fine} · {row.strongest.attack}"


def breaking_text(row: Standing) -> Pair:
    """Compute to reach the target, its interval and the cheapest attack; or that it was not reached, or is unknown."""
    found = row.breaking
    if found is None:
        return NOTHING
    if found.compute is None and (found.reached or found.within is None):
        how = "broken after" if found.reached else "not broken within"
        return UNKNOWN_COMPUTE.lower(), f"{how} {found.queries:.3g} queries per example · {found.attack}"
    if found.compute is None:
        assert found.within is not None
        return f"not broken within {scientific(found.within)}", found.attack
    low = "?" if found.low is None else scientific(found.low)
    high = "beyond the budget" if found.high is None else scientific(found.high)
    return scientific(found.compute), f"{low} – {high} · {found.attack}"


def defense_text(row: Standing) -> Pair:
    """Compute of the defense in FLOPs and as a multiple of the reference compute."""
    if row.defense_compute is None:
        return UNKNOWN_COMPUTE.lower(), ""
    if row.defense_compute == 0:
        return "0", ""
    if row.reference_compute is None:
        return scientific(row.defense_compute), "reference unknown"
    return scientific(row.defense_compute), f"{multiple(row.defense_compute / row.reference_compute)} reference"


def _rate(rate: Rate) -> Pair:
    return percent(rate.value), f"{100 * rate.low:.1f} – {100 * rate.high:.1f}%"
