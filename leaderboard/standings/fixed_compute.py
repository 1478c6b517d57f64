"""Attacks side by side at the same compute: a table of attack × (task, victim)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from harness.errors import DataError
from harness.records.read import Cell, Run
from harness.records.visible_text import visible
from leaderboard.data.comparable_cells import Scope, sections
from leaderboard.data.record_facts import defense_round, replay_source, victim_facts
from leaderboard.data.trajectories import BudgetUnit, read_trajectories
from leaderboard.fit.pooled_rates import Rate
from leaderboard.standings.attack_curves import AttackCurve, attack_curve, cells_by_attack
from leaderboard.standings.json_numbers import rate_json, rounded
from leaderboard.tuned.search_share import SearchShare, search_shares

Remark = Literal["", "spent less", "search elsewhere", "one step takes more", "compute unknown"]
ROUNDING = 1 + 1e-9  # sums of the same steps in another order differ in their last bits


@dataclass(frozen=True, order=True)
class AttackColumn:
    """A victim on a task. ``budget``: compute (FLOPs, nominal) or queries, mean per attacked example, at which attacks
    are compared; None where no attack's is known.
    """

    task: str
    n_params: float
    victim: str
    round: int
    data_hash: str
    budget: float | None


@dataclass(frozen=True)
class AttackAtCompute:
    """An attack's ASR so far at the last step until which it had spent at most the budget.

    Attributes:
        asr: with 95% interval, seeds pooled; None where the remark says why.
        spent: mean per attacked example at that step, in the table's unit.
        remark: ``spent less``: its full budget is less than this, and its last step is taken. ``search elsewhere``: it
            tries recorded strings, what finding them took is not counted, and its last step is taken.
        search: FLOPs (nominal) per attacked example of the search for its parameters, which are part of what it costs
            and stand next to ``spent``; None where there was none.
    """

    asr: Rate | None
    spent: float | None
    remark: Remark
    search: float | None = None


@dataclass(frozen=True)
class AttackTable:
    """Results under one threat model that share spec, accounting and judge; tasks and their data are columns.

    Attributes:
        scope: what all entries have in common; its task and data hash are "".
        attacks: labels, highest mean ASR first.
        entries: row by row, None where the attack has no finished cell with an attacked example.
    """

    scope: Scope
    unit: BudgetUnit
    defense: str
    attacks: tuple[str, ...]
    columns: tuple[AttackColumn, ...]
    entries: tuple[tuple[AttackAtCompute | None, ...], ...]

    def to_json(self) -> list[dict[str, Any]]:
        """JSON data, an object per entry: what it is of, budget and spent (in ``unit``), mark, and the rate or null."""
        return [
            {
                "task": column.task,
                "victim": column.victim,
                "defense": self.defense,
                "data_hash": column.data_hash,
                "threat": self.scope.threat,
                "judge": self.scope.judge,
                "space": self.scope.space,
                "round": column.round or None,
                "attack": attack,
                "unit": self.unit,
                "budget": rounded(column.budget),
                "spent": rounded(entry.spent),
                "search": rounded(entry.search),
                "mark": entry.remark,
                "asr": None if entry.asr is None else rate_json(entry.asr),
            }
            for attack, row in zip(self.attacks, self.entries, strict=True)
            for column, entry in zip(self.columns, row, strict=True)
            if entry is not None
        ]


def attack_tables(
    runs: Sequence[Run], budget: float | None = None, unit: BudgetUnit = "compute", defense: str = "none"
) -> list[AttackTable]:
    """One table per threat model and whatever else keeps sections apart, less the task.

    Args:
        runs: run directories, read.
        budget: mean per attacked example, in ``unit``; when None, per column the smallest that any attack which spent
            anything spent in full.
        defense: label of the defense; each of its rounds has a column.

    Raises:
        DataError: the budget is not above 0, or no finished cell has this defense.
    """
    if budget is not None and not 0 < budget < float("inf"):
        raise DataError(f"--{unit} {budget:g} is not a positive number. Give what is spent per example, such as 1e12.")
    by_scope: dict[Scope, list[Cell]] = {}
    for section in sections(runs):
        cells = [cell for cell in section.cells if cell.record.defense.label == defense]
        if cells:
            by_scope.setdefault(replace(section.scope, task="", data_hash=""), []).extend(cells)
    if not by_scope:
        labels = sorted({cell.record.defense.label for run in runs for cell in run.cells})
        known = f"The runs have: {visible(', '.join(labels))}." if labels else "The runs have no finished cell."
        raise DataError(f"--defense {defense}: no finished cell has this defense. {known}")
    shares = search_shares(cell for run in runs for cell in run.cells)
    return [
        _table(scope, cells, budget, unit, defense, shares)
        for scope, cells in sorted(by_scope.items(), key=lambda item: item[0].latent_last)
    ]


def _table(
    scope: Scope,
    cells: Sequence[Cell],
    budget: float | None,
    unit: BudgetUnit,
    defense: str,
    shares: Mapping[str, SearchShare],
) -> AttackTable:
    by_column: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        record, n_params = cell.record, victim_facts(cell.record).n_params
        size = float("inf") if n_params is None else n_params
        column = record.task.label, record.data_hash, size, record.victim.label, defense_round(record)
        by_column.setdefault(column, []).append(cell)
    columns, entries_of_column = [], []
    for (task, data_hash, size, victim, round_), column_cells in sorted(by_column.items()):
        curves = [_curve(attack, by_seed) for attack, by_seed in cells_by_attack(column_cells).items()]
        column_budget = _smallest_full_budget(curves, unit) if budget is None else budget
        columns.append(AttackColumn(task, size, victim, round_, data_hash, column_budget))
        replaying = {cell.record.attack.label for cell in column_cells if replay_source(cell.record)}
        tuned = {cell.record.attack.label: cell.record.tuning for cell in column_cells}
        searched = {label: shares[tuning.key].per_example for label, tuning in tuned.items() if tuning is not None}
        entries_of_column.append(
            {
                curve.attack: replace(
                    _entry(curve, unit, column_budget, curve.attack in replaying), search=searched.get(curve.attack)
                )
                for curve in curves
                if curve.points
            }
        )
    names = {attack for entries in entries_of_column for attack in entries}
    attacks = sorted(names, key=lambda attack: (-_mean_asr(attack, entries_of_column), attack))
    rows = tuple(tuple(entries.get(attack) for entries in entries_of_column) for attack in attacks)
    return AttackTable(scope, unit, defense, tuple(attacks), tuple(columns), rows)


def _curve(attack: str, by_seed: dict[int, Cell]) -> AttackCurve:
    return attack_curve(attack, by_seed, {seed: read_trajectories(cell) for seed, cell in by_seed.items()})


def _smallest_full_budget(curves: Sequence[AttackCurve], unit: BudgetUnit) -> float | None:
    full = [spent for curve in curves if curve.points and (spent := curve.points[-1].spent(unit)) is not None]
    return min((spent for spent in full if spent > 0), default=0.0 if full else None)


def _entry(curve: AttackCurve, unit: BudgetUnit, budget: float | None, replays: bool) -> AttackAtCompute:
    last = curve.points[-1]
    full = last.spent(unit)
    if replays:
        return AttackAtCompute(last.asr, full, "search elsewhere")
    if full is None or budget is None:
        return AttackAtCompute(None, None, "compute unknown")
    within = [point for point in curve.points if (point.spent(unit) or 0.0) <= budget * ROUNDING]
    if not within:
        return AttackAtCompute(None, None, "one step takes more")
    return AttackAtCompute(within[-1].asr, within[-1].spent(unit), "spent less" if full * ROUNDING < budget else "")


def _mean_asr(attack: str, columns: Sequence[dict[str, AttackAtCompute]]) -> float:
    values = [
        entry.asr.value for entries in columns if (entry := entries.get(attack)) is not None and entry.asr is not None
    ]
    return sum(values) / len(values) if values else -1.0
