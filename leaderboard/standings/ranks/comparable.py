"""Which rows of a table may have a rank side by side, and why the others have none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from itertools import groupby
from typing import Literal

from harness.records.planned import PlannedCell
from leaderboard.standings.standing import Standing
from leaderboard.standings.utility.bound import beyond_bound
from leaderboard.table_numbers import percent

RankUnit = Literal["victim", "reference", "flops"]
"""What is ranked, and in what: the rows of each victim among themselves, in FLOPs; or all rows of a table, in multiples
of the victim's own reference compute or in FLOPs.
"""
MAX_NAMED = 3  # attacks named in a reason; the rest are counted


def missing_of_row(row: Standing, rows: Sequence[Standing], missing: Iterable[PlannedCell]) -> tuple[PlannedCell, ...]:
    """Of the cells that a table lacks, those of ``row``.

    Where a budget ends a defense's training, a row's round may be an earlier one than was planned: what is missing of a
    round that has no row counts for all rows of that victim and defense.
    """
    rounds = {other.round for other in rows if (other.victim, other.defense) == (row.victim, row.defense)}
    return tuple(
        cell
        for cell in missing
        if (cell.victim, cell.defense) == (row.victim, row.defense)
        and (cell.round == row.round or cell.round not in rounds)
    )


def missing_rows(rows: Sequence[Standing], missing: Iterable[PlannedCell]) -> list[str]:
    """Victims and defenses of which a table lacks every cell, so that they have no row, in words."""
    there = {(row.victim, row.defense) for row in rows}
    return sorted({f"{cell.victim} · {cell.defense}" for cell in missing if (cell.victim, cell.defense) not in there})


def why_not_ranked(
    rows: Sequence[Standing], clean_measure: str, clean_floor: float, unit: RankUnit, max_loss: float | None = None
) -> list[str]:
    """Of each row why it has no rank, "" where it may have one.

    Ranked are rows that are whole, whose victim reaches the floor, and that met the same attacks: of several sets of
    attacks the largest that two rows or more met (of equally large ones, that of most rows; none where two are left).
    In the unit "victim" each victim has its own.

    Args:
        clean_measure: what the share of clean examples is of, for the reason.
        clean_floor: least share with which a row is ranked.
        max_loss: most utility that a row may have lost and be ranked; None without a bound.
    """
    reasons = [_own_reason(row, clean_measure, clean_floor) or beyond_bound(row.utilities, max_loss) for row in rows]
    if unit == "reference":
        for index, row in enumerate(rows):
            if not reasons[index] and row.reference_compute is None:
                reasons[index] = "reference compute unknown: no multiple of it to compare across victims"
    left: dict[Hashable, dict[int, frozenset[str]]] = {}
    for index, group in enumerate(rank_groups(rows, unit)):
        if not reasons[index]:
            left.setdefault(group, {})[index] = searching_attacks(rows[index])
    for attacks in left.values():
        ranked = common_attacks(list(attacks.values()))
        for index, met in attacks.items():
            if len(attacks) == 1:
                reasons[index] = "no other row to rank it with"
            elif ranked is None:
                reasons[index] = "the rows met different attacks"
            elif met != ranked:
                reasons[index] = _difference(met, ranked)
    return reasons


def rank_groups(rows: Sequence[Standing], unit: RankUnit) -> list[Hashable]:
    """Of each row which others it is ranked beside: those of the same group."""
    return [(row.family, row.victim) if unit == "victim" else None for row in rows]


def rank_divisors(rows: Sequence[Standing], unit: RankUnit) -> list[float]:
    """What the FLOPs of each row are divided by before they are ranked; 1 where its reference compute is unknown, so
    that it has no rank.
    """
    absolute = unit != "reference"
    return [1.0 if absolute or row.reference_compute is None else row.reference_compute for row in rows]


def usable_unit(rows: Sequence[Standing], unit: RankUnit) -> RankUnit:
    """``unit``; all rows of the table where no victim has two of them; FLOPs where all rows are of one victim whose
    reference is unknown: it is the same for all.
    """
    victims = set(rank_groups(rows, "victim"))
    one_victim = len(victims) == 1
    if unit == "victim":
        if len(victims) < len(rows):
            return unit
        unit = "reference"
    return "flops" if one_victim and any(row.reference_compute is None for row in rows) else unit


def searching_attacks(row: Standing) -> frozenset[str]:
    """The attacks that a row met, less those that looked for nothing: that asked the victim nothing, or tried strings
    found elsewhere, of which it is not known what they took.
    """
    return frozenset(
        curve.attack
        for curve in row.curves
        if curve.points and curve.points[-1].queries > 0 and curve.attack not in row.replaying
    )


def _own_reason(row: Standing, clean_measure: str, clean_floor: float) -> str:
    if row.missing:
        return f"unfinished: {_missing_text(row.missing)}"
    if row.static:
        return "static: the attacks did not know about the defense"
    if row.too_few_verdicts:
        return "too few verdicts"
    if row.clean is not None and row.clean.value < clean_floor:
        return f"{clean_measure} {percent(row.clean.value)}, below the floor of {percent(clean_floor)}"
    if row.cost_to_break is None:
        return "nothing was attacked"
    if not searching_attacks(row):
        return "met no attack that searches"
    if row.cost_to_break.low is None:
        return "compute unknown"
    return ""


def common_attacks(of_rows: Sequence[frozenset[str]]) -> frozenset[str] | None:
    """Of the sets of attacks that rows met, the one whose rows are ranked; None where there is none."""
    counted = [(len(attacks), count, attacks) for attacks, count in Counter(of_rows).items() if count > 1]
    counted.sort(key=lambda entry: entry[:2], reverse=True)
    if not counted or (len(counted) > 1 and counted[0][:2] == counted[1][:2]):
        return None
    return counted[0][2]


def _difference(met: frozenset[str], ranked: frozenset[str]) -> str:
    """How the attacks that a row met differ from those of the ranked rows."""
    lacks, has = sorted(ranked - met), sorted(met - ranked)
    parts = [f"not {_names(lacks)}" if lacks else "", f"also {_names(has)}" if has else ""]
    return f"met other attacks than the ranked rows: {', '.join(filter(None, parts))}"


def _missing_text(cells: Sequence[PlannedCell]) -> str:
    """``gcg (seeds 0, 1) and 2 more attacks missing``."""
    seeds_of = {
        attack: sorted({cell.seed for cell in of_attack})
        for attack, of_attack in groupby(
            sorted(cells, key=lambda cell: (cell.attack, cell.seed)), lambda cell: cell.attack
        )
    }
    named = [f"{attack} ({_seeds(seeds)})" for attack, seeds in seeds_of.items()]
    return f"{_names(named)} missing"


def _seeds(seeds: Sequence[int]) -> str:
    shown = ", ".join(map(str, seeds[:MAX_NAMED])) + (", …" if len(seeds) > MAX_NAMED else "")
    return f"seed {shown}" if len(seeds) == 1 else f"seeds {shown}"


def _names(names: Sequence[str]) -> str:
    shown, more = names[:MAX_NAMED], len(names) - MAX_NAMED
    if more > 0:
        return f"{', '.join(shown)} and {more} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
