"""Which defense of a victim is hardest to break, as far as the ranks of a table say."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from leaderboard.standings.ranks.ranks import NOT_TOLD_APART
from leaderboard.standings.standing import Standing
from leaderboard.standings.standings import Standings


@dataclass(frozen=True)
class BestDefense:
    """What a table says about the rows of one victim.

    Attributes:
        victim, family: labels.
        n_params: parameters of the model as used; None where unknown.
        best: a row that is certainly harder to break than another one, while none is certainly harder than it; of
            several the one that is harder than most. None where no row is told apart from any other.
        easier: the rows that ``best`` is certainly harder to break than.
        alike: the rows that cannot be told apart from ``best``; without one, all rows that were compared.
        left_out: the rows that have no rank for another reason than not being told apart.
    """

    victim: str
    family: str
    n_params: int | None
    best: Standing | None
    easier: tuple[Standing, ...]
    alike: tuple[Standing, ...]
    left_out: tuple[Standing, ...]


def best_defenses(table: Standings) -> list[BestDefense]:
    """One for each victim, the largest first; those of unknown size come last."""
    places: dict[Hashable, list[int]] = {}
    for at, row in enumerate(table.rows):
        places.setdefault((row.family, row.victim), []).append(at)
    found = [_best_of(table, of_victim) for of_victim in places.values()]
    return sorted(found, key=lambda best: (-(best.n_params or 0), best.family, best.victim))


def _best_of(table: Standings, places: list[int]) -> BestDefense:
    rows = {at: table.rows[at] for at in places}
    compared = {at: row for at, row in rows.items() if row.rank.best is not None or row.rank.note == NOT_TOLD_APART}
    beats = {at: set(row.rank.harder_than) & compared.keys() for at, row in compared.items()}
    beaten = set().union(*beats.values())
    leaders = [at for at in compared if at not in beaten and beats[at]]
    first, left_out = rows[places[0]], tuple(row for at, row in rows.items() if at not in compared)
    size = next((row.n_params for row in rows.values() if row.n_params is not None), None)
    if not leaders:
        return BestDefense(first.victim, first.family, size, None, (), tuple(compared.values()), left_out)
    undefended = {at for at, row in compared.items() if row.undefended}
    best = min(leaders, key=lambda at: (not beats[at] & undefended, -len(beats[at]), at))
    easier = tuple(compared[at] for at in sorted(beats[best]))
    alike = tuple(row for at, row in compared.items() if at != best and at not in beats[best])
    return BestDefense(first.victim, first.family, size, compared[best], easier, alike, left_out)
