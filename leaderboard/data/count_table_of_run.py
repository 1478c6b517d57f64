"""Count tables from a run's records, or of a run or a file alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import DataError
from harness.records.cell_manifest import CellRecord
from harness.records.read import Cell, Run
from leaderboard.data.count_table import OPTIONAL_TEXT, TEXT, UNKNOWN_SIZE, Column, CountTable, make_count_table
from leaderboard.data.count_table_files import read_count_table
from leaderboard.data.defense_cost import inference_compute, undefended_answer_flops
from leaderboard.data.record_facts import defense_flops, defense_round, reference_flops, victim_facts
from leaderboard.data.trajectories import AsrKind, Trajectories, read_trajectories

Source = Run | Path
"""Where counts come from: a run, which may be one that was submitted, or the file of a count table."""


def count_table(source: Source, asr: AsrKind = "so_far") -> CountTable:
    """The table of ``source``.

    Args:
        source: what to take it from.
        asr: which success counts are taken from a run's records; a file's counts are used as they are.

    Raises:
        DataError: there is none, or it is damaged.
    """
    return run_count_table(source, asr) if isinstance(source, Run) else read_count_table(source)


def run_count_table(run: Run, asr: AsrKind = "so_far") -> CountTable:
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
    table = cells_count_table(str(run.path), [(cell, read_trajectories(cell)) for cell in run.cells], asr)
    if table is None:
        raise DataError(
            f"{run.path}: no finished cell with an attacked example "
            f"({len(run.failed)} failed, {run.unfinished} unfinished). See `harness status {run.path}`."
        )
    return table


def cells_count_table(
    source: str, cells: list[tuple[Cell, Trajectories]], asr: AsrKind = "so_far"
) -> CountTable | None:
    """The rows of the given cells, or None when no cell has an attacked example and a step."""
    cell_columns: list[dict[str, Any]] = []
    undefended = undefended_answer_flops([cell.record for cell, _ in cells])
    for cell, trajectories in cells:
        examples, steps = trajectories.at_step.shape
        if not examples or not steps:
            continue
        at_step = asr == "at_step"
        trials = trajectories.told if at_step else np.full(steps, examples)
        successes = trajectories.at_step if at_step else trajectories.so_far
        numbers = {
            "iteration": np.arange(1, steps + 1),
            "trials": trials,
            "successes": successes.sum(axis=0),
            "attack_compute": trajectories.compute.mean(axis=0) / reference_flops(cell.record),
        }
        told = trials > 0
        if not told.any():
            continue
        cell_columns.append(
            constant_columns(cell.record)
            | {name: values[told] for name, values in numbers.items()}
            | {"inference_compute": inference_compute(cell.record, undefended)}
        )
    if not cell_columns:
        return None
    columns: dict[str, Column] = {}
    for name in cell_columns[0]:
        dtype = object if name in TEXT or name in OPTIONAL_TEXT else None
        columns[name] = np.concatenate([_repeated(each[name], len(each["iteration"]), dtype) for each in cell_columns])
    return make_count_table(source, columns)


def constant_columns(record: CellRecord) -> dict[str, Any]:
    """The columns of a count table that are the same in all rows of a cell."""
    victim, spent = victim_facts(record), defense_flops(record)
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


def _repeated(value: Any, length: int, dtype: Any) -> Column:
    return value if isinstance(value, np.ndarray) else np.full(length, value, dtype=dtype)
