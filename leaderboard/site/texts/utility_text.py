"""What is written of utility in the columns of standings."""

from __future__ import annotations

from leaderboard.site.texts.standing_text import TextPair, interval_text, rate_text
from leaderboard.standings.standing import Standing
from leaderboard.standings.standings import Standings
from leaderboard.standings.utility.bound import name_of, points, points_text
from leaderboard.standings.utility.measures import Utility
from leaderboard.table_numbers import percent


def shows_utility(table: Standings) -> bool:
    """Whether there is anything to say of utility besides the clean share."""
    return any(row.utility_notes or any(u.loss or not u.own for u in row.utilities) for row in table.rows)


def shows_under_attack(table: Standings) -> bool:
    """Whether any row tells how many answers do what the user asked."""
    return any(row.under_attack is not None for row in table.rows)


def clean_utility_text(row: Standing) -> TextPair:
    """The share of clean answers that do what the user asked, and its interval."""
    return ("–", "not measured") if row.under_attack is None else rate_text(row.under_attack.clean)


def under_attack_text(row: Standing) -> TextPair:
    """The same under the strongest attack, then a line for each other attack."""
    if row.under_attack is None:
        return "–", "not measured"
    left = dict(row.under_attack.attacked)
    strongest = None if row.strongest is None else left.pop(row.strongest.attack, None)
    lines = [f"{attack} {percent(rate.value)} ({interval_text(rate)})" for attack, rate in left.items()]
    if row.strongest is None or strongest is None:
        return "–", "\n".join(lines)
    main, fine = rate_text(strongest)
    return main, "\n".join([fine, row.strongest.attack, *lines])


def utility_text(row: Standing) -> TextPair:
    """The largest loss of utility, then a line for each share with its loss and where the row is on the front of its
    victim, and what cannot be told apart from the limit.
    """
    losses = [utility.loss for utility in row.utilities if utility.loss is not None]
    main = points(max(loss.value for loss in losses)) if losses else "–"
    lines = [line for utility in row.utilities if (line := _utility_line(utility, undefended=row.undefended))]
    return main, "\n".join([*lines, *row.utility_notes])


def _utility_line(utility: Utility, *, undefended: bool) -> str:
    """``mmlu 62.5%: 1.3 points (−0.2 to 2.8), on the front``; "" where another column says it all."""
    if utility.rate is None:
        return f"{utility.task}: {utility.note}"
    said = [points_text(utility.loss)] if utility.loss is not None else [] if undefended else ["loss not known"]
    if utility.loss is not None and utility.loss.seeds == 1:
        said.append("one model only")
    if utility.remade:
        said.append("trained for it")
    if utility.front is not None and utility.front.victim == "front":
        said.append("on the front")
    answered = "answered " if utility.measure == "answered when clean" else ""
    share = name_of(utility) if utility.own else f"{utility.task} {answered}{percent(utility.rate.value)}"
    return f"{share}: {', '.join(said)}" if said else "" if utility.own else share
