"""Attack-scaling fits of a table file or a run."""

from __future__ import annotations

from typing import Any, cast

from harness.records.read import Cell, Run
from leaderboard.data.count_table import GROUP, UNKNOWN_SIZE, CurveGroup
from leaderboard.data.count_table_of_run import Source, constant_columns, count_table, run_count_table
from leaderboard.data.record_facts import reference_flops
from leaderboard.data.trajectories import AsrKind, Trajectories, read_trajectories
from leaderboard.fit.attack_scaling import AttackScaling, Method, fit_attack_scaling, fit_first_successes
from leaderboard.fit.likelihood.first_successes import (
    FirstSuccesses,
    first_successes_of_counts,
    first_successes_of_trajectories,
)


def attack_scaling_of_source(source: Source, method: Method, asr: AsrKind) -> list[AttackScaling]:
    """One fit per group. The counts method follows the examples of a run one by one, each with its own compute.

    Raises:
        DataError: the file or run cannot be read, or holds nothing to fit.
    """
    if method == "ols":
        return fit_attack_scaling(count_table(source, asr), method)
    return [fit_first_successes(group, first) for group, first in first_successes_of_source(source, asr)]


def first_successes_of_source(source: Source, asr: AsrKind) -> list[tuple[CurveGroup, FirstSuccesses]]:
    """By group; of a run example by example, each with its own compute.

    Raises:
        DataError: the file or run cannot be read, or holds nothing to fit.
    """
    if not isinstance(source, Run) or asr == "at_step":
        table = count_table(source, asr)
        kind: AsrKind | None = "at_step" if asr == "at_step" else None
        groups = table.groups(table.available(*GROUP, "round"))
        return [(group, first_successes_of_counts(rows, kind)) for group, rows in groups]
    run_count_table(source)  # refuses cells that do not belong together
    names = (*GROUP, "round")
    members: dict[tuple[Any, ...], list[tuple[Trajectories, Cell]]] = {}
    for cell in source.cells:
        columns = constant_columns(cell.record)
        trajectories = read_trajectories(cell)
        if trajectories.at_step.size:
            members.setdefault(tuple(columns[name] for name in names), []).append((trajectories, cell))
    found = []
    for values in sorted(members):
        group = dict(zip(names, values, strict=True))
        if group["n_params"] == UNKNOWN_SIZE:
            group["n_params"] = None
        by_seed = sorted(members[values], key=lambda member: member[1].record.seed)
        with_reference = [(trajectories, reference_flops(cell.record)) for trajectories, cell in by_seed]
        found.append((cast(CurveGroup, group), first_successes_of_trajectories(with_reference)))
    return found
