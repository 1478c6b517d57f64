"""What is written in the columns of standings: a main line and finer ones, in the terminal as on the page."""

from __future__ import annotations

import numpy as np

from leaderboard.fit.pooled_rates import Rate
from leaderboard.fit.repeated.asr_at import AsrAt
from leaderboard.standings.attack_curves import AttackCurve
from leaderboard.standings.cost_to_break import CostToBreak
from leaderboard.standings.directions import one_direction_makes_the_rate
from leaderboard.standings.ranks.comparable import MAX_NAMED, RankUnit, missing_rows
from leaderboard.standings.standing import Standing
from leaderboard.standings.standings import Standings
from leaderboard.standings.utility.bound import points
from leaderboard.table_numbers import UNKNOWN_COMPUTE, amount, multiple, percent, scientific, signed

TextPair = tuple[str, str]
"""A main line, and finer lines below it."""
NOTHING_ATTACKED: TextPair = ("–", "Not enough data: nothing was attacked")


def clean_text(row: Standing) -> TextPair:
    """Clean accuracy, or in text the share of clean prompts without a success of the attacker, its interval, and how
    many got no answer, or none that could be judged.
    """
    none = ("–", "Not enough data: no clean example, none answered or judged, or all too long for the context")
    main, fine = none if row.clean is None else rate_text(row.clean)
    missing = f"{row.missing_clean} without an answer" if row.missing_clean else ""
    unparseable = f"{row.unparseable_clean} could not be judged" if row.unparseable_clean else ""
    return main, "\n".join(filter(None, [fine, missing, unparseable]))


def answered_heading(table: Standings) -> str:
    """What the share with or without an attack is of; "" in a table of labels."""
    if table.section.answered_with_labels:
        return ""
    return "Harmless prompts refused" if table.section.asks_benign else "Harmful prompts answered"


def answered_text(row: Standing) -> TextPair:
    """The share of prompts that end as the attacker wants, with or without an attack, its interval, and how many did
    without one.
    """
    if row.answered is None:
        return "–", "Not enough data: no prompt with a verdict"
    main, fine = rate_text(row.answered.rate)
    return main, f"{fine}\n{row.answered.clean} of {row.answered.rate.trials} without an attack"


def asr_text(row: Standing) -> TextPair:
    """ASR at full budget of any attack, its interval, and the strongest attack by itself, with its own share where that
    is another.
    """
    if row.strongest is None or row.asr is None:
        return NOTHING_ATTACKED
    main, fine = rate_text(row.asr)
    of_strongest = row.strongest.points[-1].asr.value
    worst_case = row.worst_case
    together = "" if worst_case is None else f"\nany of {len(worst_case.attacks)} attacks"
    strongest = "" if worst_case is None else "strongest: "
    share = f" {percent(of_strongest)}" if worst_case is not None and of_strongest != row.asr.value else ""
    shared = ""
    if worst_case is not None and worst_case.compared != worst_case.attacked:
        shared = f"\nof {counted(worst_case.compared, 'shared example')}"
    named = f"{strongest}{_attack_name(row, row.strongest.attack)}{share}"
    lines = [f"{fine}{together}{shared}\n{named}", *_direction_lines(row)]
    asr_at = row.strongest.asr_at
    return main, "\n".join([*lines, *(_asr_at_text(one) for one in dict.fromkeys([*asr_at[:1], *asr_at[-1:]]))])


def _asr_at_text(one: AsrAt) -> str:
    return f"ASR@{one.asks} {percent(one.value)} ({100 * one.low:.1f} – {100 * one.high:.1f}%)"


def asr_at_text(curve: AttackCurve) -> str:
    """ASR@j of an attack, with what it takes, a line for each j; "" where answers are not drawn."""
    return "\n".join(
        f"{_asr_at_text(one)}, "
        + (f"{amount(one.queries)} queries" if np.isnan(one.compute) else f"{scientific(one.compute)} FLOPs")
        for one in curve.asr_at
    )


def answers_text(table: Standings) -> str:
    """How answers were drawn, and what ASR@j is; "" where they are greedy."""
    records = [cell.record for cell in table.section.cells if cell.record.samples]
    if not records or records[0].answers is None:
        return ""
    answers, asks = records[0].answers, records[0].threat.get("asks")
    own = any(str(record.agreement.get("temperature", "")).startswith("the server's own") for record in records)
    drawn = "at the server's own temperature" if own else f"at temperature {answers.temperature:g}"
    drawn += f" and top_p {answers.top_p:g}" if answers.top_p < 1 and not own else ""
    counts = "the first counts" if asks in (None, 1) else f"one success among the first {asks} counts"
    pays = "is judging" if asks is None else "is the attacker's compute"
    return (
        f"{counted(answers.samples, 'answer')} to each attack string, drawn {drawn}: for ASR {counts}, and {pays}. "
        "ASR@j, estimated from all of them, is for an attacker who may ask j times with each string and pays for j "
        "answers."
    )


def _direction_lines(row: Standing) -> list[str]:
    """The directions that fall most and least, and whether one of them accounts for the rate."""
    rates = sorted(row.directions, key=lambda rate: -rate.asr.value)
    if len(rates) < 2:
        return []
    lines = [f"{rate.name} {percent(rate.asr.value)}" for rate in (rates[0], rates[-1])]
    return [*lines, "one direction accounts for the rate"] if one_direction_makes_the_rate(rates) else lines


def direction_warning(table: Standings) -> str:
    """In which rows one direction accounts for the rate, or ""."""
    apart = [(row, pair) for row in table.rows if (pair := one_direction_makes_the_rate(row.directions))]
    if not apart:
        return ""
    row, (most, least) = max(apart, key=lambda entry: entry[1][0].asr.value - entry[1][1].asr.value)
    return (
        f"One direction accounts for the rate in {len(apart)} of {counted(len(table.rows), 'row')}: examples of one "
        "label fall far more often than those of another, and their joint ASR says little about either. "
        f"Most so in {row.label}: {most.name} {percent(most.asr.value)}, {least.name} {percent(least.asr.value)}."
    )


def cost_to_break_text(row: Standing) -> TextPair:
    """Compute to reach the target, its interval and the cheapest attack; or that it was not reached, or is unknown."""
    if row.cost_to_break is None:
        return NOTHING_ATTACKED
    main, fine = cost_text(row.cost_to_break)
    attack = _attack_name(row, row.cost_to_break.attack) if row.cost_to_break.reached else ""  # no attack broke it
    return main, "\n".join(filter(None, [fine, _of_reference(row), attack]))


def _of_reference(row: Standing) -> str:
    """The cost to break, or the budget that did not reach it, as a multiple of the reference compute."""
    cost, reference = row.cost_to_break, row.reference_compute
    if cost is None or reference is None:
        return ""
    spent = cost.budget if cost.compute is None and not cost.reached else cost.compute
    return "" if spent is None else f"{multiple(spent / reference)} reference"


def cost_text(cost: CostToBreak) -> TextPair:
    """The same without the attack's name."""
    if cost.compute is None and (cost.reached or cost.budget is None):
        outcome = "broken after" if cost.reached else "not broken within"
        return UNKNOWN_COMPUTE.lower(), f"{outcome} {queries_text(cost.queries)} per example"
    if cost.compute is None:
        assert cost.budget is not None
        return "not broken", f"within {scientific(cost.budget)}{of_one_model(cost.seeds)}"
    low = "?" if cost.low is None else scientific(cost.low)
    high = "beyond the budget" if cost.high is None else scientific(cost.high)
    return scientific(cost.compute), f"{low} – {high}{of_one_model(cost.seeds)}"


def rank_text(row: Standing) -> TextPair:
    """The ranks that the row may have and of how many, or why it has none."""
    rank = row.rank
    if rank.best is None:
        return "–", rank.note
    unsure = "\nloss of utility not told apart from the limit" if row.utility_notes else ""
    return (str(rank.best) if rank.best == rank.worst else f"{rank.best} – {rank.worst}"), f"of {rank.among}{unsure}"


_RANK_UNITS: dict[RankUnit, str] = {
    "victim": "the rows of each victim among themselves, by compute to the target",
    "reference": "all rows of the table, by compute to the target as a multiple of the victim's own reference compute",
    "flops": "all rows of the table, by compute to the target (a larger victim stands higher for its size alone)",
}


def rank_rule_text(table: Standings) -> str:
    """What the rows of a table are ranked by, and with which clean accuracy."""
    return (
        f"Ranked are {_RANK_UNITS[table.rank_unit]}. A rank is 1 + the rows that are certainly harder to break; "
        "“2 – 4” ends with the last place that the row may have. Rows whose ranks start with the same number are in "
        "the order of their estimates. "
        "The chance that the table wrongly calls any row certainly harder than another is at most 5%. "
        "Rows of one seed have no rank, because one seed says nothing about other models like it; neither have rows "
        f"with {table.section.clean_measure} below {percent(table.clean_floor)}.{_bound_text(table)}"
    )


def _bound_text(table: Standings) -> str:
    """How much utility a defense may lose by the spec, and of which shares."""
    if table.max_loss is None:
        return ""
    own = [table.section.clean_measure] if table.section.shows_utility else []
    shares = " or ".join([*own, *(f"utility on {task}" for task in table.section.utility_tasks)]) or "utility"
    return (
        f" Neither has a defense that certainly loses more than {points(table.max_loss)} of {shares} compared with the "
        "undefended victim; a defense for which this cannot be decided is marked."
    )


def chance_warning(table: Standings) -> str:
    """Which rows are hardly better than guessing without any attack, or ""."""
    near = [row for row in table.rows if row.near_chance and row.clean is not None]
    if not near:
        return ""
    labels = len(near[0].cells[0].record.labels)
    named = "; ".join(f"{row.label} ({percent(row.clean.value)})" for row in near[:MAX_NAMED] if row.clean is not None)
    more = f" and {len(near) - MAX_NAMED} more" if len(near) > MAX_NAMED else ""
    return (
        f"Near chance: {named}{more}. Guessing among {labels} labels is right in {percent(1 / labels)} of cases. What "
        "it costs to break a victim that has not learnt its task says little."
    )


def missing_text(table: Standings) -> str:
    """How many cells of a table have no numbers, and which rows are not there at all; "" where none is missing."""
    missing = table.section.missing
    if not missing:
        return ""
    absent = missing_rows(table.rows, missing)
    more = f" Not in the table at all: {'; '.join(absent)}." if absent else ""
    numbers = "has no numbers" if len(missing) == 1 else "have no numbers"
    return (
        f"Unfinished: {counted(len(missing), 'cell')} of this table {numbers}. Rows that lack any have no rank.{more}"
    )


def worst_case_text(row: Standing) -> TextPair:
    """What all attacks together break and spend, and of how many examples that is known; empty with a single attack."""
    worst_case = row.worst_case
    if worst_case is None:
        return "", ""
    full = worst_case.full
    main, fine = percent(full.asr.value), interval_text(full.asr)
    spent = f"{queries_text(full.queries)}\n{UNKNOWN_COMPUTE.lower()}"
    if full.compute is not None:
        spent = f"{scientific(full.compute)} FLOPs"
    compared, attacked = worst_case.compared, worst_case.attacked
    shared = "" if compared == attacked else f" · {compared} of {counted(attacked, 'example')}"
    search = "\nnot counting searches elsewhere" if set(row.replaying) & set(worst_case.attacks) else ""
    return main, f"{fine}\n{len(worst_case.attacks)} attacks{shared}\n{spent}{search}"


def examples_text(row: Standing) -> TextPair:
    """How many examples were attacked under how many seeds and attacks, how many were not, and why; and how many
    answers have no verdict.
    """
    lines = [evidence_text(row), excluded_text(row), *untold_texts(row)]
    return str(row.asr.trials if row.asr else 0), "\n".join(filter(None, lines))


def evidence_text(row: Standing) -> str:
    """``2 seeds`` and ``3 attacks``, a line each."""
    attacks = sum(bool(curve.points) for curve in row.curves)
    return f"{counted(row.seeds, 'seed')}\n{counted(attacks, 'attack')}"


def excluded_text(row: Standing) -> str:
    """``not attacked: 3 already wrong, 2 too long``; empty where all examples were attacked."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in row.excluded.items())
    return f"not attacked: {reasons}" if reasons else ""


def counted(count: int, noun: str) -> str:
    """``1 seed``, ``2 seeds``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def queries_text(count: float) -> str:
    """``1 query``, ``1.2e3 queries``."""
    return f"{amount(count)} {'query' if count == 1 else 'queries'}"


def untold_texts(row: Standing) -> list[str]:
    """``5 of 80 answers missing`` and ``3 answers could not be judged``, where there are any."""
    missing = [f"{row.missing_answers} of {counted(row.asked, 'answer')} missing"] if row.missing_answers else []
    unparseable = [f"{counted(row.unparseable, 'answer')} could not be judged"] if row.unparseable else []
    return missing + unparseable


def defense_compute_text(row: Standing) -> TextPair:
    """Compute of the defense in FLOPs and as a multiple of the reference compute; below it what it took to make the
    victim ready, where its training hardens it already.
    """
    victim = ""
    if row.trained_against:
        spent = row.preparation_compute
        amount_text = UNKNOWN_COMPUTE.lower() if spent is None else scientific(spent)
        victim = f"training of the victim\n{amount_text}"
    if row.defense_compute is None:
        main, fine = UNKNOWN_COMPUTE.lower(), ""
    elif row.defense_compute == 0:
        main, fine = "0", ""
    elif row.reference_compute is None:
        main, fine = scientific(row.defense_compute), "reference unknown"
    else:
        main, fine = (
            scientific(row.defense_compute),
            f"{multiple(row.defense_compute / row.reference_compute)} reference",
        )
    return main, "\n".join(filter(None, [fine, victim]))


def trained_against_text(row: Standing) -> str:
    """What the victim was hardened with before any defense, or ""."""
    return f"trained with {row.trained_against}" if row.trained_against else ""


def overhead_text(row: Standing) -> TextPair:
    """What the defense adds to each answer."""
    if row.overhead is None:
        return "–", ""
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
        else f"{signed(low)} – {signed(high)}{of_one_model(row.offense_defense.seeds)}"
    )
    return signed(line.slope), interval if row.offense_defense.line_fits else f"{interval}\na line does not fit"


def _attack_name(row: Standing, attack: str) -> str:
    return f"{attack}\nstrings found elsewhere" if attack in row.replaying else attack


def rate_text(rate: Rate) -> TextPair:
    """A rate and its 95% interval, and whether that is of one model only."""
    return percent(rate.value), f"{interval_text(rate)}{of_one_model(rate.seeds)}"


def interval_text(rate: Rate) -> str:
    """``41.0 – 62.1%``."""
    return f"{100 * rate.low:.1f} – {100 * rate.high:.1f}%"


def of_one_model(seeds: int) -> str:
    """What an interval over a single seed is of: no other model that was trained the same way."""
    return "\none model only" if seeds == 1 else ""
