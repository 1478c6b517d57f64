"""What stands in a standings cell: a main line and finer ones, the same in the terminal and on the page."""

from __future__ import annotations

from leaderboard.fit.intervals import Rate
from leaderboard.number_format import UNKNOWN_COMPUTE, amount, multiple, percent, scientific, signed
from leaderboard.site.fit_json import fit_json
from leaderboard.standings.cost_to_break import Breaking
from leaderboard.standings.standings import Standing

Pair = tuple[str, str]
NOTHING: Pair = ("–", "Not enough data: nothing was attacked")


def clean_text(row: Standing) -> Pair:
    """Clean accuracy, or in text the share of clean prompts without a success of the attacker, and its interval."""
    return ("–", "Not enough data: no clean example") if row.clean is None else rate_pair(row.clean)


def asr_text(row: Standing) -> Pair:
    """ASR at full budget over all attacks, its interval, and the strongest attack with its own share when others broke
    more.
    """
    if row.strongest is None or row.asr is None:
        return NOTHING
    main, fine = rate_pair(row.asr)
    alone = row.strongest.points[-1].asr.value
    share = f" {percent(alone)}" if row.worst is not None and alone != row.asr.value else ""
    some = ""
    if row.worst is not None and row.worst.compared != row.worst.attacked:
        some = f"\nof {row.worst.compared} shared examples"
    return main, f"{fine}\n{_named(row, row.strongest.attack)}{share}{some}"


def breaking_text(row: Standing) -> Pair:
    """Compute to reach the target, its interval and the cheapest attack; or that it was not reached, or is unknown."""
    found = row.breaking
    if found is None:
        return NOTHING
    main, fine = breaking_pair(found)
    return main, "\n".join(filter(None, [fine, _named(row, found.attack)]))


def breaking_pair(found: Breaking) -> Pair:
    """The same without the attack's name."""
    if found.compute is None and (found.reached or found.within is None):
        how = "broken after" if found.reached else "not broken within"
        return UNKNOWN_COMPUTE.lower(), f"{how} {amount(found.queries)} queries per example"
    if found.compute is None:
        assert found.within is not None
        return "not broken", f"within {scientific(found.within)}"
    low = "?" if found.low is None else scientific(found.low)
    high = "beyond the budget" if found.high is None else scientific(found.high)
    return scientific(found.compute), f"{low} – {high}"


def rank_text(row: Standing, rows: tuple[Standing, ...]) -> Pair:
    """The rank, and whether other rows share it."""
    if row.rank is None:
        return "–", ""
    return str(row.rank), "tie" if sum(other.rank == row.rank for other in rows) > 1 else ""


def worst_text(row: Standing) -> Pair:
    """What all attacks together break and spend, and of how many examples that is known; empty with a single attack."""
    worst = row.worst
    if worst is None:
        return "", ""
    main, fine = rate_pair(worst.full.asr)
    spent = f"{amount(worst.full.queries)} queries\n{UNKNOWN_COMPUTE.lower()}"
    if worst.full.compute is not None:
        spent = f"{scientific(worst.full.compute)} FLOPs"
    some = "" if worst.compared == worst.attacked else f" · {worst.compared} of {worst.attacked} examples"
    less = "\nwithout search elsewhere" if set(row.replayed) & set(worst.attacks) else ""
    return main, f"{fine}\n{len(worst.attacks)} attacks{some}\n{spent}{less}"


def examples_text(row: Standing) -> Pair:
    """How many examples were attacked under how many seeds and attacks, and how many answers have no verdict."""
    told = evidence_text(row)
    trials = str(row.asr.trials if row.asr else 0)
    return trials, told if not row.unparseable else f"{told}\n{unparseable_text(row.unparseable)}"


def evidence_text(row: Standing) -> str:
    """``2 seeds`` and ``3 attacks``, a line each."""
    return f"{counted(row.seeds, 'seed')}\n{counted(sum(bool(c.points) for c in row.curves), 'attack')}"


def counted(count: int, what: str) -> str:
    """``1 seed``, ``2 seeds``."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def unparseable_text(count: int) -> str:
    """``3 answers could not be judged``."""
    return f"{counted(count, 'answer')} could not be judged"


def defense_text(row: Standing) -> Pair:
    """Compute of the defense in FLOPs and as a multiple of the reference compute."""
    if row.defense_compute is None:
        return UNKNOWN_COMPUTE.lower(), ""
    if row.defense_compute == 0:
        return "0", ""
    if row.reference_compute is None:
        return scientific(row.defense_compute), "reference unknown"
    return scientific(row.defense_compute), f"{multiple(row.defense_compute / row.reference_compute)} reference"


def overhead_text(row: Standing) -> Pair:
    """What the defense adds to each answer."""
    if row.overhead is None:
        return "", ""
    ratio = "" if row.overhead.ratio is None else f"{multiple(row.overhead.ratio)} an answer"
    return ("0", "") if row.overhead.flops == 0 else (scientific(row.overhead.flops), ratio)


def balance_text(row: Standing) -> Pair:
    """The offense-defense slope over the defense's rounds."""
    found = fit_json(row.balance)
    if found is None:
        return "", ""
    if found["slope"] is None:
        return "–", "not enough data"
    low, high = found["slope_low"], found["slope_high"]
    return signed(found["slope"]), "" if low is None else f"{signed(low)} – {signed(high)}"


def _named(row: Standing, attack: str) -> str:
    return f"{attack}\nstrings found elsewhere" if attack in row.replayed else attack


def rate_pair(rate: Rate) -> Pair:
    """A rate and its 95% interval."""
    return percent(rate.value), f"{100 * rate.low:.1f} – {100 * rate.high:.1f}%"
