"""What stands in a standings cell: a main line and finer ones, the same in the terminal and on the page."""

from __future__ import annotations

from leaderboard.intervals import Rate
from leaderboard.standings import Standing
from leaderboard.words import UNKNOWN_COMPUTE, multiple, percent, scientific

Pair = tuple[str, str]
NOTHING: Pair = ("–", "Not enough data: nothing was attacked")


def clean_text(row: Standing) -> Pair:
    """Clean accuracy, or in text the share of clean prompts without a success of the attacker, and its interval."""
    return ("–", "Not enough data: no clean example") if row.clean is None else rate_pair(row.clean)


def asr_text(row: Standing) -> Pair:
    """ASR at full budget, its interval and the attack that reached it."""
    if row.strongest is None:
        return NOTHING
    main, fine = rate_pair(row.strongest.points[-1].asr)
    return main, f"{fine}\n{_named(row, row.strongest.attack)}"


def breaking_text(row: Standing) -> Pair:
    """Compute to reach the target, its interval and the cheapest attack; or that it was not reached, or is unknown."""
    found = row.breaking
    if found is None:
        return NOTHING
    attack = _named(row, found.attack)
    if found.compute is None and (found.reached or found.within is None):
        how = "broken after" if found.reached else "not broken within"
        return UNKNOWN_COMPUTE.lower(), f"{how} {found.queries:.3g} queries per example\n{attack}"
    if found.compute is None:
        assert found.within is not None
        return f"not broken within {scientific(found.within)}", attack
    low = "?" if found.low is None else scientific(found.low)
    high = "beyond the budget" if found.high is None else scientific(found.high)
    return scientific(found.compute), f"{low} – {high}\n{attack}"


def worst_text(row: Standing) -> Pair:
    """What all attacks together break and spend, and of how many examples that is known; empty with a single attack."""
    worst = row.worst
    if worst is None:
        return "", ""
    main, fine = rate_pair(worst.full.asr)
    spent = f"{worst.full.queries:.3g} queries\n{UNKNOWN_COMPUTE.lower()}"
    if worst.full.compute is not None:
        spent = f"{scientific(worst.full.compute)} FLOPs"
    some = "" if worst.compared == worst.attacked else f" · {worst.compared} of {worst.attacked} examples"
    less = "\nwithout search elsewhere" if set(row.replayed) & set(worst.attacks) else ""
    return main, f"{fine}\n{len(worst.attacks)} attacks{some}\n{spent}{less}"


def examples_text(row: Standing) -> Pair:
    """How many examples were attacked under how many seeds, and how many answers have no verdict."""
    seeds = f"{row.seeds} {'seed' if row.seeds == 1 else 'seeds'}"
    trials = row.strongest.points[-1].asr.trials if row.strongest else 0
    return str(trials), seeds if not row.unparseable else f"{seeds}\n{unparseable_text(row.unparseable)}"


def unparseable_text(count: int) -> str:
    """``3 answers could not be judged``."""
    return f"{count} {'answer' if count == 1 else 'answers'} could not be judged"


def defense_text(row: Standing) -> Pair:
    """Compute of the defense in FLOPs and as a multiple of the reference compute."""
    if row.defense_compute is None:
        return UNKNOWN_COMPUTE.lower(), ""
    if row.defense_compute == 0:
        return "0", ""
    if row.reference_compute is None:
        return scientific(row.defense_compute), "reference unknown"
    return scientific(row.defense_compute), f"{multiple(row.defense_compute / row.reference_compute)} reference"


def _named(row: Standing, attack: str) -> str:
    return f"{attack}\nstrings found elsewhere" if attack in row.replayed else attack


def rate_pair(rate: Rate) -> Pair:
    """A rate and its 95% interval."""
    return percent(rate.value), f"{100 * rate.low:.1f} – {100 * rate.high:.1f}%"
