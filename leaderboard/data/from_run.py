"""From a run's records to the table form."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from harness.errors import DataError
from harness.flops import UNKNOWN
from harness.records.cell import CellRecord, VictimFacts
from harness.records.read import Cell, Run
from leaderboard.data.defense_cost import inference_compute, undefended_answers
from leaderboard.data.table import OPTIONAL_TEXT, TEXT, UNKNOWN_SIZE, Column, Table, make_table
from leaderboard.data.trajectories import Trajectories, trajectories

AsrKind = Literal["so_far", "at_step"]


def run_table(run: Run, asr: AsrKind = "so_far") -> Table:
    """All finished cells of ``run``, one row per cell and step.

    Raises:
        DataError: there is none, or they do not belong in one table.
    """
    conventions = sorted({cell.record.accounting for cell in run.cells})
    if len(conventions) > 1:
        raise DataError(
            f"{run.path}: cells under {len(conventions)} accounting conventions share no table "
            f"({'; '.join(conventions)}). "
            "Remove the cells of one of them."
        )
    table = cells_table(str(run.path), [(cell, trajectories(cell)) for cell in run.cells], asr)
    if table is None:
        raise DataError(
            f"{run.path}: no finished cell with an attacked example "
            f"({len(run.failed)} failed, {run.unfinished} unfinished). See `harness status {run.path}`."
        )
    return table


def cells_table(source: str, cells: list[tuple[Cell, Trajectories]], asr: AsrKind = "so_far") -> Table | None:
    """The rows of the given cells, or None when no cell has an attacked example and a step."""
    parts: list[dict[str, Any]] = []
    undefended = undefended_answers([cell.record for cell, _ in cells])
    for cell, paths in cells:
        examples, steps = paths.at_step.shape
        if not examples or not steps:
            continue
        won = paths.so_far if asr == "so_far" else paths.at_step
        parts.append(
            identity(cell.record)
            | {
                "iteration": np.arange(1, steps + 1),
                "trials": np.full(steps, examples),
                "successes": won.sum(axis=0),
                "attack_compute": paths.compute.mean(axis=0) / reference_flops(cell.record),
                "inference_compute": inference_compute(cell.record, undefended),
            }
        )
    if not parts:
        return None
    columns: dict[str, Column] = {}
    for name in parts[0]:
        dtype = object if name in TEXT or name in OPTIONAL_TEXT else None
        columns[name] = np.concatenate([_spread(part[name], len(part["iteration"]), dtype) for part in parts])
    return make_table(source, columns)


def facts(record: CellRecord) -> VictimFacts:
    """The victim's facts. Raises `DataError` where a finished cell lacks them."""
    found = record.victim_facts
    if found is None:
        raise DataError(
            f"cell {record.key}: finished, but without the facts of its victim. "
            "Remove its folder and run the spec again."
        )
    return found


def reference_flops(record: CellRecord) -> float:
    """What other compute is divided by, FLOPs, nominal convention; NaN where unknown (older records say 0)."""
    found = facts(record).reference_flops
    return found if found is not None and found > 0 else UNKNOWN


def defense_flops(record: CellRecord) -> float:
    """Search and training of the defense until this checkpoint, FLOPs, nominal convention; 0 without a defense, NaN
    where unknown.
    """
    found = record.defense_facts
    parts = () if found is None else (found.search.nominal, found.training.nominal)
    return sum(UNKNOWN if part is None else part for part in parts)


def defense_round(record: CellRecord) -> int:
    """The defense's round; 0 when it has none."""
    found = record.defense_facts
    return 0 if found is None or found.round is None else found.round


def replayed_from(record: CellRecord) -> dict[str, Any] | None:
    """For an attack that tries strings found elsewhere: attack, victim, defense, … there. None for every other."""
    source = record.attack_facts.get("source")
    return source if isinstance(source, dict) else None


def identity(record: CellRecord) -> dict[str, Any]:
    """The columns of the table form that are the same in all rows of a cell."""
    victim, spent = facts(record), defense_flops(record)
    return {
        "task": record.task.label,
        "family": victim.family,
        "attack": record.attack.label,
        "n_params": UNKNOWN_SIZE if victim.n_params is None else victim.n_params,
        "victim": record.victim.label,
        "threat": record.threat_label,
        "defense": record.defense.label,
        "round": defense_round(record),
        "seed": record.seed,
        "defense_compute": spent and spent / reference_flops(record),  # nothing is nothing of whatever it is
    }


def _spread(value: Any, length: int, dtype: Any) -> Column:
    return value if isinstance(value, np.ndarray) else np.full(length, value, dtype=dtype)
