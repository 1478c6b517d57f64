"""Attack-scaling fits of a table file or a run directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.records.read import Cell, is_run, read_run
from leaderboard.data.from_run import identity, reference_flops, run_table
from leaderboard.data.table import IDENTITY, UNKNOWN_SIZE
from leaderboard.data.table_files import read_table
from leaderboard.data.trajectories import Trajectories, trajectories
from leaderboard.fit.attack_scaling import AttackScaling, Method, fit_attack_scaling, from_observed
from leaderboard.fit.likelihood.first_success import Kind, from_records


def attack_scaling_of(path: Path, method: Method, asr: Kind) -> list[AttackScaling]:
    """One fit per group. The counts method follows the examples of a run one by one, each with its own compute.

    Raises:
        DataError: the file or folder cannot be read, or holds nothing to fit.
    """
    if not is_run(path) or method == "ols" or asr == "at_step":
        return fit_attack_scaling(read_table(path, asr), method, "at_step" if asr == "at_step" else None)
    run = read_run(path)
    run_table(run)  # refuses cells that do not belong together
    groups: dict[tuple[Any, ...], list[tuple[Trajectories, Cell]]] = {}
    for cell in run.cells:
        own = identity(cell.record)
        found = trajectories(cell)
        if found.at_step.size:
            groups.setdefault(tuple(own[name] for name in (*IDENTITY, "round")), []).append((found, cell))
    fits = []
    for key in sorted(groups):
        group = dict(zip((*IDENTITY, "round"), key, strict=True))
        if group["n_params"] == UNKNOWN_SIZE:
            group["n_params"] = None
        cells = sorted(groups[key], key=lambda pair: pair[1].record.seed)
        fits.append(
            from_observed(group, from_records([(found, reference_flops(cell.record)) for found, cell in cells]))
        )
    return fits
