"""Utility next to robustness, of all rows of a table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from leaderboard.standings.ranks.comparable import common_attacks, searching_attacks
from leaderboard.standings.standing import Standing
from leaderboard.standings.utility.pareto import Front, Held, Place, places


def held(row: Standing) -> Held | None:
    """The share of examples that no attack broke at its full budget. Of answers in text, of all prompts with a verdict:
    those that did not end as the attacker wants, with an attack or without one. None where nothing is known of it.
    """
    rate = row.asr if row.answered is None else row.answered.rate
    return None if rate is None else Held(1 - rate.value, 1 - rate.high, 1 - rate.low)


def why_no_point(rows: Sequence[Standing]) -> list[str]:
    """Of each row why its robustness cannot be compared with that of the others; "" where it can."""
    reasons = [_own_reason(row) for row in rows]
    left = [index for index, reason in enumerate(reasons) if not reason]
    common = common_attacks([searching_attacks(rows[index]) for index in left])
    for index in left:
        if common is not None and searching_attacks(rows[index]) != common:
            reasons[index] = "met other attacks than most rows"
    return reasons


def _own_reason(row: Standing) -> str:
    if row.missing:
        return "unfinished"
    if row.static:
        return "static: the attacks did not know about the defense"
    if row.too_few_verdicts:
        return "too few verdicts"
    if held(row) is None or row.strongest is None:
        return "nothing was attacked"
    return "" if searching_attacks(row) else "met no attack that searches"


def with_fronts(rows: Sequence[Standing]) -> list[Standing]:
    """The rows, each utility with its place on the front of its victim and of the table."""
    found = [list(row.utilities) for row in rows]
    usable = [index for index, reason in enumerate(why_no_point(rows)) if not reason]
    at: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for index in usable:
        for place, utility in enumerate(rows[index].utilities):
            if utility.rate is not None:
                at[utility.task].append((index, place))
    for of_task in at.values():
        everywhere = _places(rows, of_task)
        within: dict[tuple[int, int], Place | None] = {}
        victims: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        for index, place in of_task:
            victims[rows[index].family, rows[index].victim].append((index, place))
        for of_victim in victims.values():
            within |= _places(rows, of_victim)
        for index, place in of_task:
            front = Front(within[index, place], everywhere[index, place])
            found[index][place] = replace(found[index][place], front=front)
    return [replace(row, utilities=tuple(utilities)) for row, utilities in zip(rows, found, strict=True)]


def _places(rows: Sequence[Standing], at: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Place | None]:
    points = []
    for index, place in at:
        rate, robust = rows[index].utilities[place].rate, held(rows[index])
        assert rate is not None
        assert robust is not None
        points.append((rate, robust))
    return dict(zip(at, places(points), strict=True))
