"""Transfer: how far a defense against one attack holds against others, and how far attack strings go beyond the victim
they were found on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from harness.records.read import Cell, Run
from leaderboard.data.comparable_cells import Scope, sections
from leaderboard.data.record_facts import replay_source
from leaderboard.data.trajectories import read_trajectories
from leaderboard.fit.pooled_rates import Rate, pooled_rate, shared_example_variance
from leaderboard.standings.attack_curves import cells_by_attack
from leaderboard.standings.json_numbers import rate_json
from leaderboard.standings.transfer_headings import (
    HEADING_RULES,
    HeadingRules,
    TransferHeading,
    TransferKind,
    checkpoint_order,
    tested_under,
    trained_against,
    training_threat,
)


@dataclass(frozen=True)
class TransferCell:
    """ASR so far at full budget, seeds pooled.

    Attributes:
        matched: no transfer. trained: tested under the attack (by name, its parameters may differ) and the threat model
            trained against; replayed: the strings were found on a victim and defense of these very names.
    """

    asr: Rate
    seeds: int
    matched: bool


@dataclass(frozen=True)
class TransferMatrix:
    """Results that share spec, task, data, accounting and judge; threat models may differ.

    Attributes:
        kind: ``trained``: rows are checkpoints by what they were trained against, columns what they were tested under.
            ``replayed``: rows are where strings were found, columns the victims that they were tried on.
        scope: what all entries have in common; its threat is "".
        entries: row by row, None where nothing was attacked.
    """

    kind: TransferKind
    scope: Scope
    rows: tuple[TransferHeading, ...]
    columns: tuple[TransferHeading, ...]
    entries: tuple[tuple[TransferCell | None, ...], ...]

    def to_json(self) -> dict[str, Any]:
        """JSON data: kind, notice, the scope, rows and columns as main and fine, cells row by row (null or a rate)."""
        scope = {name: value for name, value in asdict(self.scope).items() if name != "threat"}
        cells = [[None if entry is None else _cell_json(entry) for entry in row] for row in self.entries]
        headings = {"rows": [asdict(row) for row in self.rows], "columns": [asdict(column) for column in self.columns]}
        return {"kind": self.kind, "notice": self.scope.notice} | scope | headings | {"cells": cells}


def _cell_json(entry: TransferCell) -> dict[str, Any]:
    return {**rate_json(entry.asr), "seeds": entry.seeds, "own": entry.matched}


def transfer_matrices(runs: Sequence[Run]) -> list[TransferMatrix]:
    """The matrices of all runs that have something to show, by task.

    A matrix of checkpoints needs one that was trained against an attack and tested under two or more pairs of attack
    and threat model; it also has the other defenses of the same victim, to compare with. Text and latent attacks are
    never in one matrix. Raises `DataError` for records that cannot be read.
    """
    by_scope: dict[Scope, list[Cell]] = {}
    for section in sections(runs):
        by_scope.setdefault(replace(section.scope, threat=""), []).extend(section.cells)
    matrices = [
        matrix
        for scope, cells in sorted(by_scope.items(), key=lambda item: item[0].latent_last)
        for matrix in (_trained_matrix(scope, cells), _replayed_matrix(scope, cells))
    ]
    return [matrix for matrix in matrices if matrix is not None]


def _trained_matrix(scope: Scope, cells: Sequence[Cell]) -> TransferMatrix | None:
    searched = [cell for cell in cells if not replay_source(cell.record)]
    tests: dict[tuple[str, TransferHeading], set[TransferHeading]] = {}
    for cell in searched:
        if training_threat(cell.record).get("attack"):
            checkpoint = cell.record.victim.label, trained_against(cell.record)
            tests.setdefault(checkpoint, set()).add(tested_under(cell.record))
    victims = {victim for (victim, _), headings in tests.items() if len(headings) > 1}
    return _matrix("trained", scope, [cell for cell in searched if cell.record.victim.label in victims])


def _replayed_matrix(scope: Scope, cells: Sequence[Cell]) -> TransferMatrix | None:
    return _matrix("replayed", scope, [cell for cell in cells if replay_source(cell.record)])


def _matrix(kind: TransferKind, scope: Scope, cells: Sequence[Cell]) -> TransferMatrix | None:
    rules = HEADING_RULES[kind]
    by_heading: dict[tuple[TransferHeading, TransferHeading], list[Cell]] = {}
    row_order: dict[TransferHeading, tuple[Any, ...]] = {}
    for cell in cells:
        row = rules.row(cell.record)
        by_heading.setdefault((row, rules.column(cell.record)), []).append(cell)
        row_order.setdefault(row, checkpoint_order(cell.record) if kind == "trained" else ())
    rows = tuple(sorted(row_order, key=lambda row: (row_order[row], row)))
    columns = tuple(sorted({column for _, column in by_heading}))
    entries = tuple(tuple(_entry(by_heading.get((row, column), ()), rules) for column in columns) for row in rows)
    return TransferMatrix(kind, scope, rows, columns, entries) if by_heading else None


def _entry(cells: Sequence[Cell], rules: HeadingRules) -> TransferCell | None:
    cells_by_attack(cells)  # refuses two cells in one place
    used = [trajectories for trajectories in map(read_trajectories, cells) if trajectories.at_step.size]
    successes = [int(trajectories.so_far[:, -1].sum()) for trajectories in used]
    trials = [len(trajectories.examples) for trajectories in used]
    shared = shared_example_variance(
        [trajectories.examples for trajectories in used], [trajectories.so_far[:, -1:] for trajectories in used]
    )
    asr = pooled_rate(successes, trials, shared)
    return None if asr is None else TransferCell(asr, len(used), any(rules.is_matched(cell.record) for cell in cells))
