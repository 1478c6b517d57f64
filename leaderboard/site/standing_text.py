"""What is written in the columns of standings: a main line and finer ones, in the terminal as on the page."""

from __future__ import annotations

from leaderboard.fit.pooled_rates import Rate
from leaderboard.number_format import UNKNOWN_COMPUTE, amount, multiple, percent, scientific, signed
from leaderboard.standings.cost_to_break import CostToBreak
from leaderboard.standings.standing import Standing

TextPair = tuple[str, str]
"""A main line, and finer lines below it."""
NOTHING_ATTACKED: TextPair = ("–", "Not enough data: nothing was attacked")


def clean_text(row: Standing) -> TextPair:
    """Clean accuracy, or in text the share of clean prompts without a success of the attacker, and its interval."""
    return ("–", "Not enough data: no clean example") if row.clean is None else rate_text(row.clean)


def asr_text(row: Standing) -> TextPair:
    """ASR at full budget over all attacks, its interval, and the strongest attack with its own share when others broke
    more.
    """
    if row.strongest is None or row.asr is None:
        return NOTHING_ATTACKED
    main, fine = rate_text(row.asr)
    of_strongest = row.strongest.points[-1].asr.value
    worst_case = row.worst_case
    share = f" {percent(of_strongest)}" if worst_case is not None and of_strongest != row.asr.value else ""
    shared = ""
    if worst_case is not None and worst_case.compared != worst_case.attacked:
        shared = f"\nof {worst_case.compared} shared examples"
    return main, f"{fine}\n{_attack_name(row, row.strongest.attack)}{share}{shared}"


def cost_to_break_text(row: Standing) -> TextPair:
    """Compute to reach the target, its interval and the cheapest attack; or that it was not reached, or is unknown."""
    if row.cost_to_break is None:
        return NOTHING_ATTACKED
    main, fine = cost_text(row.cost_to_break)
    return main, "\n".join(filter(None, [fine, _attack_name(row, row.cost_to_break.attack)]))


def cost_text(cost: CostToBreak) -> TextPair:
    """The same without the attack's name."""
    if cost.compute is None and (cost.reached or cost.budget is None):
        outcome = "broken after" if cost.reached else "not broken within"
        return UNKNOWN_COMPUTE.lower(), f"{outcome} {amount(cost.queries)} queries per example"
    if cost.compute is None:
        assert cost.budget is not None
        return "not broken", f"within {scientific(cost.budget)}{_of_one_model(cost.seeds)}"
    low = "?" if cost.low is None else scientific(cost.low)
    high = "beyond the budget" if cost.high is None else scientific(cost.high)
    return scientific(cost.compute), f"{low} – {high}{_of_one_model(cost.seeds)}"


def rank_text(row: Standing) -> TextPair:
    """The ranks that the row may have, or why it has none."""
    if row.rank is None:
        return "–", row.rank_note
    return (str(row.rank) if row.rank == row.worst_rank else f"{row.rank} – {row.worst_rank}"), ""


def worst_case_text(row: Standing) -> TextPair:
    """What all attacks together break and spend, and of how many examples that is known; empty with a single attack."""
    worst_case = row.worst_case
    if worst_case is None:
        return "", ""
    full = worst_case.full
    main, fine = percent(full.asr.value), interval_text(full.asr)
    spent = f"{amount(full.queries)} queries\n{UNKNOWN_COMPUTE.lower()}"
    if full.compute is not None:
        spent = f"{scientific(full.compute)} FLOPs"
    compared, attacked = worst_case.compared, worst_case.attacked
    shared = "" if compared == attacked else f" · {compared} of {attacked} examples"
    search = "\nwithout search elsewhere" if set(row.replaying) & set(worst_case.attacks) else ""
    return main, f"{fine}\n{len(worst_case.attacks)} attacks{shared}\n{spent}{search}"


def examples_text(row: Standing) -> TextPair:
    """How many examples were attacked under how many seeds and attacks, and how many answers have no verdict."""
    evidence = evidence_text(row)
    trials = str(row.asr.trials if row.asr else 0)
    return trials, evidence if not row.unparseable else f"{evidence}\n{unparseable_text(row.unparseable)}"


def evidence_text(row: Standing) -> str:
    """``2 seeds`` and ``3 attacks``, a line each."""
    attacks = sum(bool(curve.points) for curve in row.curves)
    return f"{counted(row.seeds, 'seed')}\n{counted(attacks, 'attack')}"


def counted(count: int, noun: str) -> str:
    """``1 seed``, ``2 seeds``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def unparseable_text(count: int) -> str:
    """``3 answers could not be judged``."""
    return f"{counted(count, 'answer')} could not be judged"


def defense_compute_text(row: Standing) -> TextPair:
    """Compute of the defense in FLOPs and as a multiple of the reference compute."""
    if row.defense_compute is None:
        return UNKNOWN_COMPUTE.lower(), ""
    if row.defense_compute == 0:
        return "0", ""
    if row.reference_compute is None:
        return scientific(row.defense_compute), "reference unknown"
    return scientific(row.defense_compute), f"{multiple(row.defense_compute / row.reference_compute)} reference"


def overhead_text(row: Standing) -> TextPair:
    """What the defense adds to each answer."""
    if row.overhead is None:
        return "", ""
    ratio = "" if row.overhead.ratio is None else f"{multiple(row.overhead.ratio)} an answer"
    return ("0", "") if row.overhead.flops == 0 else (scientific(row.overhead.flops), ratio)


def offense_defense_text(row: Standing) -> TextPair:
    """The offense-defense slope over the defense's rounds."""
    if row.offense_defense is None:
        return "", ""
    line = row.offense_defense.line
    if line.slope is None:
        return "–", "not enough data"
    low, high = line.slope_ci or (None, None)
    interval = (
        ""
        if low is None or high is None
        else f"{signed(low)} – {signed(high)}{_of_one_model(row.offense_defense.seeds)}"
    )
    return signed(line.slope), interval if row.offense_defense.line_fits else f"{interval}\na line does not fit"


def _attack_name(row: Standing, attack: str) -> str:
    return f"{attack}\nstrings found elsewhere" if attack in row.replaying else attack


def rate_text(rate: Rate) -> TextPair:
    """A rate and its 95% interval, and whether that is of one model only."""
    return percent(rate.value), f"{interval_text(rate)}{_of_one_model(rate.seeds)}"


def interval_text(rate: Rate) -> str:
    """``41.0 – 62.1%``."""
    return f"{100 * rate.low:.1f} – {100 * rate.high:.1f}%"


def _of_one_model(seeds: int) -> str:
    """What an interval over a single seed is of: no other model that was trained the same way."""
    return "\none model only" if seeds == 1 else ""
