"""A run: every cell not done yet, by whoever does the work; what fails is recorded and the rest goes on."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.errors import error_text
from harness.records.read import read_run
from harness.registry.registry import Registry
from harness.run.cell.rejudge import Sources
from harness.run.executors.executor import HERE, Executor, Job
from harness.run.executors.work import Outcome, RunSetup
from harness.run.plan.estimate import make_plan
from harness.run.plan.shard_weights import cells_of_shard, check_found
from harness.run.prepare.keys import keyless
from harness.run.prepare.preparer import Preparer
from harness.run.reporter import Forecast, Reporter
from harness.run.run_folder import RunFolder
from harness.run.shards import Shard, digest
from harness.spec.cells import CellSpec
from harness.spec.load import LoadedSpec


def run(
    spec: LoadedSpec,
    registry: Registry,
    root: Path,
    reporter: Reporter,
    store: str | Path | None = None,
    executor: Executor = HERE,
    plugin_files: Sequence[Path] = (),
    sources: Sequence[Path] = (),
    shard: Shard | None = None,
) -> Outcome:
    """Do what is missing of a spec, in ``root``.

    Args:
        store: where models are kept, a folder or a URL; None: in ``root``.
        executor: who does the cells.
        plugin_files: files given with ``--plugin``, which other processes have to load too.
        sources: runs whose attacks are not run again: a cell that differs from one of theirs in nothing but the judge
            is only judged.

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
        preparer.store.check()
        cells: dict[str, CellSpec] = {}  # two cells that differ in nothing that counts (a device, say) are one
        lost: dict[str, tuple[CellSpec, str]] = {}
        for cell in spec.cells:
            key, problem = _key(preparer, cell)
            if key is None:
                lost[keyless(cell)] = cell, problem
            else:
                cells.setdefault(key, cell)
                shutil.rmtree(folder.cell(keyless(cell)), ignore_errors=True)  # of a start that could not find its key
        known: dict[str, Any] = {} if lost else {"cells_digest": digest(cells)}
        if shard is not None:
            check_found(lost, shard)
            known |= {"shard": [shard.index, shard.of], "cells_of_spec": len(cells)}
            cells = cells_of_shard(cells, shard, preparer)
            preparer.reporter.stage(f"{shard}: {len(cells)} of the {known['cells_of_spec']} cells of the spec")
        if not lost:
            folder.check_cells(cells.keys(), known["cells_digest"] if shard else None)
        folder.begin(spec, __version__, {"cells": len(cells) + len(lost)} | known)
        todo = {key: cell for key, cell in cells.items() if not folder.is_settled(key)}
        for key in cells.keys() - todo.keys():
            folder.drop_journal(key)  # left where a kill came just after the records were written
        outcome = Outcome(done=len(cells) - len(todo))
        victims = len({preparer.keys(cell).victim for cell in cells.values()})
        forecast = _forecast(todo, preparer, folder, executor.width(victims))
        reporter.begin(len(cells) + len(lost), outcome.done, forecast)
        groups = _groups(todo, folder, preparer)
        job = Job(setup, preparer, groups, reporter, outcome, tuple(plugin_files), victims)
        for key, (cell, problem) in lost.items():
            job.failed(key, cell, problem)
        if groups:
            executor.work(job)
        return outcome


def _key(preparer: Preparer, cell: CellSpec) -> tuple[str | None, str]:
    """The cell's key, or why it has none: its data or model cannot be found."""
    try:
        return preparer.keys(cell).cell, ""
    except Exception as error:
        return None, error_text(error)


def _forecast(todo: dict[str, CellSpec], preparer: Preparer, folder: RunFolder, jobs: int) -> Forecast | None:
    """What is left to do, or None when a plugin cannot say; that must not keep the run from starting."""
    try:
        plan = make_plan(list(todo.values()), preparer, folder)
        return plan.forecast(jobs=jobs)
    except Exception:
        return None


def _groups(todo: dict[str, CellSpec], folder: RunFolder, preparer: Preparer) -> list[dict[str, CellSpec]]:
    """Cells of one victim together, rounds in turn, so that it is made once; begun groups first, then large models."""
    found: dict[str, list[tuple[str, CellSpec]]] = {}
    for key, cell in todo.items():
        found.setdefault(preparer.keys(cell).victim, []).append((key, cell))
    groups = [dict(sorted(items, key=lambda item: item[1].round or 0)) for items in found.values()]

    def urgency(group: dict[str, CellSpec]) -> tuple[bool, int]:
        begun = any(folder.cell_status(key) == "begun" for key in group)
        cell = next(iter(group.values()))
        size = 0
        with contextlib.suppress(Exception):  # a plugin that cannot say fails when its turn comes
            size = cell.victim.plugin.card(preparer.tasks.data(cell.task)).n_params or 0
        return (not begun, -size)

    return sorted(groups, key=urgency)
