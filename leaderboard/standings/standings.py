"""Standings: a table of rows for each section of the records, hardest to break first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from harness.records.read import Cell, Run
from leaderboard.data.comparable_cells import Section, section_target, sections
from leaderboard.data.count_table_of_run import cells_count_table
from leaderboard.data.defense_cost import UndefendedFlops, undefended_answer_flops
from leaderboard.data.record_facts import defense_round, victim_facts
from leaderboard.fit.offense_defense import offense_defense_by_defense
from leaderboard.others.of_rows import Others
from leaderboard.parallel import map_in_processes
from leaderboard.standings.ranks.comparable import (
    RankUnit,
    missing_of_row,
    rank_divisors,
    rank_groups,
    usable_unit,
    why_not_ranked,
)
from leaderboard.standings.ranks.ranks import NOT_TOLD_APART, Rank, ranks
from leaderboard.standings.standing import Standing, attack_trajectories, make_standing
from leaderboard.standings.utility.bound import not_told_from_bound
from leaderboard.standings.utility.measures import UtilityTables
from leaderboard.standings.utility.of_table import with_fronts


@dataclass(frozen=True)
class Standings:
    """A section's table: hardest to break first, of each victim where ranks are within victims.

    Attributes:
        target: attack success rate that counts as broken.
        rank_unit: what is ranked, and in what.
        clean_floor: least share of clean examples with which a row is ranked.
        max_loss: most utility that a row may have lost and be ranked; None where the spec sets no bound.
    """

    section: Section
    target: float
    rows: tuple[Standing, ...]
    rank_unit: RankUnit
    clean_floor: float
    max_loss: float | None = None


CellsByRound = list[list[Cell]]
Job = tuple[CellsByRound, float, UndefendedFlops]


def standings(
    runs: Sequence[Run],
    target: float | None = None,
    processes: int = 1,
    rank_unit: RankUnit = "victim",
    others: Others | None = None,
) -> list[Standings]:
    """One table per section of ``runs``.

    Args:
        runs: run directories, read.
        target: attack success rate that counts as broken; the spec's own when None.
        rank_unit: what is ranked, and in what; between victims in FLOPs a larger one stands higher for its size alone.
        processes: how many may share the rows of many cells; see `map_in_processes`.
        others: what others say of the rows; no rank depends on it.
    """
    jobs_of_section: list[tuple[Section, float, list[Job]]] = []
    all_sections = sections(runs)
    for section in all_sections:
        undefended = undefended_answer_flops([cell.record for cell in section.cells])
        asr = section_target(section, target)
        jobs = [(by_round, asr, undefended) for by_round in _cells_by_defense(section)]
        jobs_of_section.append((section, asr, jobs))
    all_jobs = [job for _, _, jobs in jobs_of_section for job in jobs]
    cells = [cell for by_round, _, _ in all_jobs for round_cells in by_round for cell in round_cells]
    # The table of a submission is a mapped file, which no other process is sent.
    usable_processes = processes if all(type(cell) is Cell for cell in cells) else 1
    results = iter(map_in_processes(_standings_of_defense, all_jobs, len(cells), usable_processes))
    tables, utilities = [], UtilityTables(all_sections)
    for section, asr, jobs in jobs_of_section:
        rows: list[Standing] = []
        for by_round, _, _ in jobs:
            rows += _with_cells(next(results), by_round)
        rows = [replace(row, utilities=utilities.of_row(section, row.cells, row.clean)) for row in rows]
        rows = rows if others is None else [_with_others(row, others, asr) for row in rows]
        tables.append(_ranked(section, asr, rows, rank_unit))
    return tables


def _cells_by_defense(section: Section) -> list[CellsByRound]:
    """The cells of each victim and defense, by round: each round is a row."""
    by_defense: dict[tuple[str, str, str], dict[int, list[Cell]]] = {}
    for cell in section.cells:
        record = cell.record
        defense = (victim_facts(record).family, record.victim.label, record.defense.label)
        by_defense.setdefault(defense, {}).setdefault(defense_round(record), []).append(cell)
    return [[cells for _, cells in sorted(by_round.items())] for _, by_round in sorted(by_defense.items())]


def _standings_of_defense(job: Job) -> list[Standing]:
    """The rows of one victim and defense, unranked, without the cells: another process may make them."""
    by_round, target, undefended = job
    rows, count_tables = [], []
    for cells in by_round:
        attacks = attack_trajectories(cells)
        row = make_standing(cells, attacks, target, undefended)
        rows.append(row)
        if row.round is not None:
            pairs = [(cell, attacks[cell.record.attack.label][cell.record.seed]) for cell in cells]
            table = cells_count_table(row.defense, pairs)
            count_tables += [] if table is None else [table]
    fits = offense_defense_by_defense(count_tables, target)
    return [
        row
        if row.cost_to_break is None
        else replace(row, offense_defense=fits.get((row.family, row.victim, row.defense, row.cost_to_break.attack)))
        for row in rows
    ]


def _with_others(row: Standing, others: Others, target: float) -> Standing:
    strongest = None if row.strongest is None else row.strongest.attack
    return replace(row, others=others.of_row(row.cells, strongest, row.own_cost, target))


def _with_cells(rows: Sequence[Standing], by_round: CellsByRound) -> list[Standing]:
    return [replace(row, cells=tuple(cells)) for row, cells in zip(rows, by_round, strict=True)]


def _ranked(section: Section, target: float, rows: Sequence[Standing], unit: RankUnit) -> Standings:
    rows = with_fronts([replace(row, missing=missing_of_row(row, rows, section.missing)) for row in rows])
    told = partial(not_told_from_bound, max_loss=section.max_loss)
    rows = [replace(row, utility_notes=tuple(told(row.utilities, undefended=row.undefended))) for row in rows]
    unit = usable_unit(rows, unit)
    notes = why_not_ranked(rows, section.clean_measure, section.clean_floor, unit, section.max_loss)
    divisors = rank_divisors(rows, unit)
    in_unit = [
        () if note else tuple(replace(curve, compute=curve.compute / divisor) for curve in row.ranked_by)
        for row, note, divisor in zip(rows, notes, divisors, strict=True)
    ]
    found = ranks(in_unit, target, groups=rank_groups(rows, unit))
    ranked = [
        (replace(row, rank=Rank(None, None, note) if note else rank), divisor)
        for row, rank, note, divisor in zip(rows, found, notes, divisors, strict=True)
    ]
    order = sorted(range(len(ranked)), key=lambda index: _hardest_first(ranked[index]))
    if unit == "victim":
        order.sort(key=lambda index: _largest_victim_first(ranked[index]))
    place = {index: at for at, index in enumerate(order)}
    ordered = tuple(_with_places(ranked[index][0], place) for index in order)
    return Standings(section, target, ordered, unit, section.clean_floor, section.max_loss)


def _with_places(row: Standing, place: Mapping[int, int]) -> Standing:
    """``row``, the rows that it is harder to break than named by their place in the sorted table."""
    return replace(row, rank=replace(row.rank, harder_than=tuple(sorted(place[at] for at in row.rank.harder_than))))


def _largest_victim_first(ranked: tuple[Standing, float]) -> tuple[bool, float, str, str]:
    """Victims of unknown size come after the others; rows that may not be ranked after all victims."""
    row, _ = ranked
    return not row.rank.comparable, -(row.n_params or 0), row.family, row.victim


def _hardest_first(ranked: tuple[Standing, float]) -> tuple[bool, int, bool, float, float, float, str, str, int]:
    """By rank, those of one rank by cost. Rows that are told from no other may be first; of one seed they come after
    the ranked ones. Rows that may not be ranked with the others come after them all; among them static rows after the
    others, rows of unknown compute after those that can be compared, and those that were not attacked last.
    """
    row, divisor = ranked
    best = 1.0 if row.rank.note == NOT_TOLD_APART else float(row.rank.best or np.inf)
    cost = row.cost_to_break
    if cost is None:
        group, compute = 2, 0.0
    elif cost.compute is not None:
        group, compute = 0, cost.compute / divisor
    elif cost.budget is not None and not cost.reached:
        group, compute = 0, np.inf
    else:
        group, compute = 1, 0.0 if cost.reached else np.inf
    asr = row.asr.value if row.asr else 0.0
    incomparable = not row.rank.comparable
    return (incomparable, group, row.static, best, -compute, asr, row.victim, row.defense, row.round or 0)


def across_victims(table: Standings) -> Standings:
    """``table`` with all rows ranked together, where they are ranked within their victims."""
    if table.rank_unit != "victim":
        return table
    return _ranked(table.section, table.target, table.rows, "reference")
