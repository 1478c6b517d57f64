"""What is written of utility in the columns of standings."""

from __future__ import annotations

from leaderboard.site.texts.standing_text import TextPair, interval_text
from leaderboard.standings.standing import Standing
from leaderboard.standings.standings import Standings
from leaderboard.standings.utility.bound import name_of, points, points_text
from leaderboard.standings.utility.measures import Utility
from leaderboard.table_numbers import percent


def shows_utility(table: Standings) -> bool:
    """Whether there is anything to say of utility beside the clean share."""
    return any(row.utility_notes or any(u.loss or not u.own for u in row.utilities) for row in table.rows)


def utility_text(row: Standing) -> TextPair:
    """The largest loss of utility, then a line for each share with its interval and its loss, where the row is on the
    front of its victim, and what cannot be told from the bound.
    """
    losses = [utility.loss for utility in row.utilities if utility.loss is not None]
    main = points(max(loss.value for loss in losses)) if losses else "–"
    on_front = [name_of(each) for each in row.utilities if each.front is not None and each.front.victim == "front"]
    lines = [line for utility in row.utilities if (line := _utility_line(utility, undefended=row.undefended))]
    front = [f"on its victim's front: {', '.join(on_front)}"] if on_front else []
    return main, "\n".join([*lines, *front, *row.utility_notes])


def _utility_line(utility: Utility, *, undefended: bool) -> str:
    """``clean accuracy on mmlu 62.5%, loses 1.3 points (−0.2 to 2.8)``; "" where another column says it all."""
    if utility.own and utility.loss is None:
        return ""
    if utility.rate is None:
        return f"{name_of(utility)}: {utility.note}"
    share = "" if utility.own else f" {percent(utility.rate.value)} ({interval_text(utility.rate)})"
    loss = "" if undefended else ", loss not known" if utility.loss is None else f", loses {points_text(utility.loss)}"
    if utility.loss is not None and utility.loss.seeds == 1:
        loss += ", one model only"
    return f"{name_of(utility)}{share}{loss}{', of a model trained for it' if utility.remade else ''}"
