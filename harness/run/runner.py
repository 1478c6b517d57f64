"""A run: every cell not done yet, by whoever does the work; what fails is recorded and the rest goes on."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import error_text
from harness.number_format import counted
from harness.records.planned import PlannedCell, planned_json
from harness.records.read import read_run
from harness.registry.registry import Registry
from harness.run.cell.base_record import planned_cell
from harness.run.cell.rejudge import Sources
from harness.run.executors.executor import IN_PROCESS, Executor, Job
from harness.run.executors.run_setup import Outcome, RunSetup
from harness.run.plan.chosen_cells import chosen_keys
from harness.run.plan.estimate import make_plan
from harness.run.plan.shard_weights import cells_of_shard, check_all_resolved
from harness.run.prepare.keys import stand_in_key
from harness.run.prepare.preparer import Preparer
from harness.run.prepare.resolved_cell import CellResolver, ResolvedCell
from harness.run.reporter import Forecast, Reporter
from harness.run.run_folder import RunFolder
from harness.run.shards import Shard, digest
from harness.run.status import read_status
from harness.spec.cells import CellSpec
from harness.spec.load import LoadedSpec


def run(
    spec: LoadedSpec,
    registry: Registry,
    root: Path,
    reporter: Reporter,
    store: str | Path | None = None,
    executor: Executor = IN_PROCESS,
    plugin_files: Sequence[Path] = (),
    sources: Sequence[Path] = (),
    shard: Shard | None = None,
    only: Sequence[str] = (),
) -> Outcome:
    """Do what is missing of a spec, in ``root``.

    Args:
        store: where models are kept, a folder or a URL; None: in ``root``.
        executor: who does the cells.
        plugin_files: files given with ``--plugin``, which other processes have to load too.
        sources: runs whose attacks are not run again: a cell that differs from one of theirs in nothing but the judge
            is only judged.
        only: labels of the cells to do, ``KIND=LABEL``; the run lists the others as missing.

    Raises:
        RunError: the folder belongs to another spec or another process, or there is nobody to do the work.
        KeyboardInterrupt: stopped; everything finished so far is on disk.
    """
    from harness import __version__

    folder = RunFolder(root)
    for source in sources:
        read_run(source)  # a mistake is told before anything is done
    setup = RunSetup(spec, registry, folder, str(store or folder.artifacts), Sources(tuple(sources)))
    with folder.locked():
        folder.check(spec, shard)
        preparer = setup.preparer(reporter.worker(0))
        preparer.artifacts.store.check()
        resolver = preparer.resolver
        cells, unresolved = _resolve_all(spec, resolver)
        for change in dict.fromkeys(change for cell in cells.values() for change in _data_changes(cell)):
            preparer.reporter.note(change)
        for cell in spec.cells:
            if (key := stand_in_key(cell)) not in unresolved:  # of a start that did not find the cell's key
                shutil.rmtree(folder.cell(key), ignore_errors=True)
        planned = list(_planned(cells, unresolved))
        chosen = chosen_keys(planned, only)
        known: dict[str, Any] = {"planned": planned_json(planned)}
        if not unresolved:
            known["cells_digest"] = digest(cells)
        if shard is not None:
            check_all_resolved(unresolved, shard)
            known |= {"shard": [shard.index, shard.of], "cells_of_spec": len(cells)}
            cells = cells_of_shard(cells, shard, resolver)
            preparer.reporter.stage(
                f"{shard}: {len(cells)} of the {counted(known['cells_of_spec'], 'cell')} of the spec"
            )
        if not unresolved:
            folder.check_cells(cells.keys(), known["cells_digest"] if shard else None)
        folder.begin(spec, __version__, {"cells": len(cells) + len(unresolved)} | known)
        cells = {key: cell for key, cell in cells.items() if key in chosen}
        unresolved = {key: lost for key, lost in unresolved.items() if key in chosen}
        todo = {key: cell for key, cell in cells.items() if not folder.is_settled(key)}
        for key in cells.keys() - todo.keys():
            folder.drop_journal(key)  # left where a kill came just after the records were written
        outcome = Outcome(done=len(cells) - len(todo))
        victims = len({cell.keys.victim for cell in cells.values()})
        forecast = _forecast(todo, preparer, folder, executor.max_workers(victims))
        reporter.begin(len(cells) + len(unresolved), outcome.done, forecast)
        groups = _groups(todo, folder)
        job = Job(setup, preparer, groups, reporter, outcome, tuple(plugin_files), victims)
        for key, (lost, problem) in unresolved.items():
            job.failed(key, lost, problem)
        if groups:
            executor.work(job)
        outcome.untold = [(cell.label, cell.untold) for cell in read_status(root).with_untold if cell.key in cells]
        return outcome


def _resolve_all(
    spec: LoadedSpec, resolver: CellResolver
) -> tuple[dict[str, ResolvedCell], dict[str, tuple[CellSpec, str]]]:
    """The cells of a spec worked out, by key, and those whose data or model cannot be found, with the reason.

    Two cells that differ in nothing that counts (a device, say) are one.
    """
    cells: dict[str, ResolvedCell] = {}
    unresolved: dict[str, tuple[CellSpec, str]] = {}
    for cell in spec.cells:
        try:
            resolved = resolver.resolve(cell)
        except Exception as error:
            unresolved[stand_in_key(cell)] = cell, error_text(error)
        else:
            cells.setdefault(resolved.keys.cell, resolved)
    return cells, unresolved


def _planned(
    cells: Mapping[str, ResolvedCell], unresolved: Mapping[str, tuple[CellSpec, str]]
) -> Iterator[PlannedCell]:
    """The cells of a spec as `run.json` lists them."""
    every = {key: cell.spec for key, cell in cells.items()} | {key: cell for key, (cell, _) in unresolved.items()}
    return (planned_cell(key, cell) for key, cell in every.items())


def _data_changes(cell: ResolvedCell) -> list[str]:
    """What was left out of the cell's data or changed in it, a line each."""
    return [f"task {cell.spec.task.label}: {change}" for change in cell.data.changes]


def _forecast(todo: dict[str, ResolvedCell], preparer: Preparer, folder: RunFolder, workers: int) -> Forecast | None:
    """What is left to do, or None when a plugin cannot say; that must not keep the run from starting."""
    try:
        plan = make_plan(list(todo.values()), preparer.resolver, preparer.artifacts.store, folder)
        return plan.forecast(jobs=workers)
    except Exception:
        return None


def _groups(todo: dict[str, ResolvedCell], folder: RunFolder) -> list[dict[str, ResolvedCell]]:
    """Cells of one victim together, rounds in turn, so that it is made once; begun groups first, then large models."""
    found: dict[str, list[tuple[str, ResolvedCell]]] = {}
    for key, cell in todo.items():
        found.setdefault(cell.keys.victim, []).append((key, cell))
    groups = [dict(sorted(items, key=lambda item: item[1].spec.round or 0)) for items in found.values()]

    def urgency(group: dict[str, ResolvedCell]) -> tuple[bool, int]:
        begun = any(folder.cell_status(key) == "begun" for key in group)
        cell = next(iter(group.values()))
        size = 0
        with contextlib.suppress(Exception):  # a plugin that cannot say fails when its turn comes
            size = cell.spec.victim.plugin.card(cell.data).n_params or 0
        return (not begun, -size)

    return sorted(groups, key=urgency)
