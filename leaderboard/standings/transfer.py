"""Transfer: how far a defense against one attack holds against others, and how far attack strings go beyond the victim
they were found on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from harness.records.cell import CellRecord
from harness.records.read import Cell, Run
from leaderboard.data.from_run import replayed_from
from leaderboard.data.sections import LATENT, Scope, in_order, sections
from leaderboard.data.trajectories import trajectories
from leaderboard.fit.intervals import Rate, pooled_rate
from leaderboard.standings.attack_curves import by_attack
from leaderboard.standings.json_numbers import rate_json
from leaderboard.standings.transfer_heads import (
    HEADS,
    Kind,
    TransferHeading,
    against,
    checkpoint,
    tested_under,
    trained_against,
)


@dataclass(frozen=True)
class TransferCell:
    """ASR so far at full budget, seeds pooled.

    Attributes:
        own: trained: tested under the attack (by name, its parameters may differ) and the threat model trained against;
            replayed: the strings were found on a victim and defense of these very names.
    """

    asr: Rate
    seeds: int
    own: bool


@dataclass(frozen=True)
class Matrix:
    """Results that share spec, task, data, accounting and judge; threat models may differ.

    Attributes:
        kind: ``trained``: rows are checkpoints by what they were trained against, columns what they were tested under.
            ``replayed``: rows are where strings were found, columns the victims that they were tried on.
        scope: what all entries have in common; its threat is "".
        entries: row by row, None where nothing was attacked.
    """

    kind: Kind
    scope: Scope
    rows: tuple[TransferHeading, ...]
    columns: tuple[TransferHeading, ...]
    entries: tuple[tuple[TransferCell | None, ...], ...]

    @property
    def notice(self) -> str:
        """What the reader must know of the attacks: `LATENT`, or ""."""
        return LATENT if self.scope.space == "latent" else ""

    def to_json(self) -> dict[str, Any]:
        """JSON data: kind, notice, the scope, rows and columns as main and fine, cells row by row (null or a rate)."""
        scope = {name: value for name, value in asdict(self.scope).items() if name != "threat"}
        cells = [
            [None if e is None else rate_json(e.asr) | {"seeds": e.seeds, "own": e.own} for e in row]
            for row in self.entries
        ]
        heads = {"rows": [asdict(head) for head in self.rows], "columns": [asdict(head) for head in self.columns]}
        return {"kind": self.kind, "notice": self.notice} | scope | heads | {"cells": cells}


def transfer_matrices(runs: Sequence[Run]) -> list[Matrix]:
    """The matrices of all runs that have something to show, by task.

    A matrix of checkpoints needs one that was trained against an attack and tested under two or more pairs of attack
    and threat model; it also has the other defenses of the same victim, to compare with. Text and latent attacks are
    never in one matrix. Raises `DataError` for records that cannot be read.
    """
    groups: dict[Scope, list[Cell]] = {}
    for section in sections(runs):
        groups.setdefault(replace(section.scope, threat=""), []).extend(section.cells)
    found = [
        matrix
        for scope, cells in sorted(groups.items(), key=lambda group: in_order(group[0]))
        for matrix in (_trained(scope, cells), _replayed(scope, cells))
    ]
    return [matrix for matrix in found if matrix is not None]


def _trained(scope: Scope, cells: Sequence[Cell]) -> Matrix | None:
    searched = [cell for cell in cells if not replayed_from(cell.record)]
    tested: dict[tuple[str, TransferHeading], set[TransferHeading]] = {}
    for cell in searched:
        if against(cell.record).get("attack"):
            place = cell.record.victim.label, trained_against(cell.record)
            tested.setdefault(place, set()).add(tested_under(cell.record))
    victims = {victim for (victim, _), under in tested.items() if len(under) > 1}
    return _matrix("trained", scope, [cell for cell in searched if cell.record.victim.label in victims])


def _replayed(scope: Scope, cells: Sequence[Cell]) -> Matrix | None:
    return _matrix("replayed", scope, [cell for cell in cells if replayed_from(cell.record)])


def _matrix(kind: Kind, scope: Scope, cells: Sequence[Cell]) -> Matrix | None:
    row_of, column_of, own = HEADS[kind]
    places: dict[tuple[TransferHeading, TransferHeading], list[Cell]] = {}
    order: dict[TransferHeading, tuple[Any, ...]] = {}
    for cell in cells:
        head = row_of(cell.record)
        places.setdefault((head, column_of(cell.record)), []).append(cell)
        order.setdefault(head, checkpoint(cell.record) if kind == "trained" else ())
    rows = tuple(sorted(order, key=lambda head: (order[head], head)))
    columns = tuple(sorted({column for _, column in places}))
    entries = tuple(tuple(_entry(places.get((row, column), ()), own) for column in columns) for row in rows)
    return Matrix(kind, scope, rows, columns, entries) if places else None


def _entry(cells: Sequence[Cell], own: Callable[[CellRecord], bool]) -> TransferCell | None:
    by_attack(cells)  # refuses two cells in one place
    paths = [found for found in map(trajectories, cells) if found.at_step.size]
    asr = pooled_rate([int(p.so_far[:, -1].sum()) for p in paths], [len(p.examples) for p in paths])
    return None if asr is None else TransferCell(asr, len(paths), any(own(cell.record) for cell in cells))
