"""Attacks side by side at the same compute: a table of attack × (task, victim)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from harness.errors import DataError
from harness.records.read import Cell, Run
from leaderboard.data.from_run import defense_round, facts, replayed_from
from leaderboard.data.sections import LATENT, Scope, in_order, sections
from leaderboard.data.trajectories import trajectories
from leaderboard.fit.intervals import Rate
from leaderboard.standings.attack_curves import AttackCurve, Point, attack_curve, by_attack
from leaderboard.standings.json_numbers import rate_json, rounded

Unit = Literal["compute", "queries"]
Mark = Literal["", "spent less", "search elsewhere", "one step takes more", "compute unknown"]
SLACK = 1 + 1e-9  # sums of the same steps in another order differ in their last bits


@dataclass(frozen=True, order=True)
class Column:
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
        asr: with 95% interval, seeds pooled; None where a mark says why.
        spent: mean per attacked example at that step, in the table's unit.
        mark: ``spent less``: its full budget is less than this, and its last step is taken. ``search elsewhere``: it
            tries strings found elsewhere, what that took is not counted, and its last step is taken.
    """

    asr: Rate | None
    spent: float | None
    mark: Mark


@dataclass(frozen=True)
class AttackTable:
    """Results under one threat model that share spec, accounting and judge; tasks and their data are columns.

    Attributes:
        scope: what all entries have in common; its task and data hash are "".
        attacks: labels, highest mean ASR first.
        entries: row by row, None where the attack has no finished cell with an attacked example.
    """

    scope: Scope
    unit: Unit
    defense: str
    attacks: tuple[str, ...]
    columns: tuple[Column, ...]
    entries: tuple[tuple[AttackAtCompute | None, ...], ...]

    @property
    def notice(self) -> str:
        """What the reader must know of the attacks: `LATENT`, or ""."""
        return LATENT if self.scope.space == "latent" else ""

    def to_json(self) -> list[dict[str, Any]]:
        """JSON data, an object per entry: what it is of, budget and spent (in ``unit``), mark, and the rate or null."""
        out = []
        for attack, row in zip(self.attacks, self.entries, strict=True):
            for column, entry in zip(self.columns, row, strict=True):
                if entry is None:
                    continue
                of = {
                    "task": column.task,
                    "victim": column.victim,
                    "defense": self.defense,
                    "data_hash": column.data_hash,
                }
                of |= {"threat": self.scope.threat, "judge": self.scope.judge, "space": self.scope.space}
                numbers = {"budget": rounded(column.budget), "spent": rounded(entry.spent), "mark": entry.mark}
                asr = None if entry.asr is None else rate_json(entry.asr)
                out.append(
                    of | {"round": column.round or None, "attack": attack, "unit": self.unit} | numbers | {"asr": asr}
                )
        return out


def attack_tables(
    runs: Sequence[Run], budget: float | None = None, unit: Unit = "compute", defense: str = "none"
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
    groups: dict[Scope, list[Cell]] = {}
    for section in sections(runs):
        cells = [cell for cell in section.cells if cell.record.defense.label == defense]
        if cells:
            groups.setdefault(replace(section.scope, task="", data_hash=""), []).extend(cells)
    if not groups:
        labels = sorted({cell.record.defense.label for run in runs for cell in run.cells})
        known = f"The runs have: {', '.join(labels)}." if labels else "The runs have no finished cell."
        raise DataError(f"--defense {defense}: no finished cell has this defense. {known}")
    return [
        _table(scope, cells, budget, unit, defense)
        for scope, cells in sorted(groups.items(), key=lambda group: in_order(group[0]))
    ]


def _table(scope: Scope, cells: Sequence[Cell], budget: float | None, unit: Unit, defense: str) -> AttackTable:
    places: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        r, size = cell.record, facts(cell.record).n_params
        place = r.task.label, r.data_hash, float("inf") if size is None else size, r.victim.label, defense_round(r)
        places.setdefault(place, []).append(cell)
    columns, found = [], []
    for (task, data, size, victim, round_), own in sorted(places.items()):
        curves = [_curve(name, seeds) for name, seeds in by_attack(own).items()]
        at = _smallest(curves, unit) if budget is None else budget
        columns.append(Column(task, size, victim, round_, data, at))
        elsewhere = {cell.record.attack.label for cell in own if replayed_from(cell.record)}
        used = [curve for curve in curves if curve.points]
        found.append({curve.attack: _entry(curve, unit, at, curve.attack in elsewhere) for curve in used})
    names = {attack for entries in found for attack in entries}
    attacks = sorted(names, key=lambda attack: (-_mean(attack, found), attack))
    rows = tuple(tuple(entries.get(attack) for entries in found) for attack in attacks)
    return AttackTable(scope, unit, defense, tuple(attacks), tuple(columns), rows)


def _curve(name: str, seeds: dict[int, Cell]) -> AttackCurve:
    return attack_curve(name, seeds, {seed: trajectories(cell) for seed, cell in seeds.items()})


def _smallest(curves: Sequence[AttackCurve], unit: Unit) -> float | None:
    ends = [_spent(curve.points[-1], unit) for curve in curves if curve.points]
    full = [spent for spent in ends if spent is not None]
    return min((spent for spent in full if spent > 0), default=0.0 if full else None)


def _entry(curve: AttackCurve, unit: Unit, budget: float | None, elsewhere: bool) -> AttackAtCompute:
    last = _spent(curve.points[-1], unit)
    if elsewhere:
        return AttackAtCompute(curve.points[-1].asr, last, "search elsewhere")
    if last is None or budget is None:
        return AttackAtCompute(None, None, "compute unknown")
    within = [point for point in curve.points if (_spent(point, unit) or 0.0) <= budget * SLACK]
    if not within:
        return AttackAtCompute(None, None, "one step takes more")
    return AttackAtCompute(within[-1].asr, _spent(within[-1], unit), "spent less" if last * SLACK < budget else "")


def _spent(point: Point, unit: Unit) -> float | None:
    return point.compute if unit == "compute" else point.queries


def _mean(attack: str, columns: Sequence[dict[str, AttackAtCompute]]) -> float:
    values = [e.asr.value for entries in columns if (e := entries.get(attack)) is not None and e.asr is not None]
    return sum(values) / len(values) if values else -1.0
