"""Who does the cells of a run: this process, several on this machine, or a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from harness.run.cell_label import cell_label
from harness.run.executors.attempt_cell import attempt_cell, record_failure
from harness.run.executors.run_setup import Outcome, RunSetup
from harness.run.prepare.preparer import Preparer
from harness.run.prepare.resolved_cell import ResolvedCell
from harness.run.reporter import CellEnd, Reporter
from harness.spec.cells import CellSpec

MAX_DEATHS = 2  # of workers on one cell, before it is given up


@dataclass(frozen=True)
class Job:
    """What is to be done, and who is told.

    Attributes:
        preparer: the driver's.
        groups: cells by key, those of one victim together; begun and large ones first.
        outcome: in which every cell is counted.
        plugin_files: given with ``--plugin``; other processes have to load them too.
        victims: how many different ones the whole run has, those that are done included.
    """

    setup: RunSetup
    preparer: Preparer
    groups: list[dict[str, ResolvedCell]]
    reporter: Reporter
    outcome: Outcome
    plugin_files: tuple[Path, ...]
    victims: int

    @cached_property
    def places(self) -> dict[str, int]:
        """Of each cell in the spec, by key: what other processes know it by."""
        of = {id(cell): place for place, cell in enumerate(self.setup.spec.cells)}
        return {key: of[id(cell.spec)] for group in self.groups for key, cell in group.items()}

    def failed(self, key: str, cell: CellSpec, message: str, trace: str | None = None, worker: int = 0) -> None:
        """Record and count a cell that nobody can do, and tell of it."""
        record_failure(key, cell, self.setup, message, trace or message)
        self.reporter.worker(worker).cell_done(CellEnd(cell_label(cell), error=message))
        self.outcome.add(cell_label(cell), message)


class Executor(Protocol):
    """Does the cells of a run."""

    def max_workers(self, victims: int) -> int:
        """How many workers there will be at most for so many different victims."""

    def work(self, job: Job) -> None:
        """Do every cell, or record why it failed. Cells that were begun go on where they were.

        Raises:
            RunError: there is nobody to do it.
            KeyboardInterrupt: stopped; the workers have ended, what is finished is on disk.
        """


class InProcess:
    """Does the cells in this process. A plugin that ends it ends the run, and a time limit for steps is not kept."""

    def max_workers(self, victims: int) -> int:
        """One worker: this process."""
        return 1

    def work(self, job: Job) -> None:
        """Do the cells here, one after another."""
        if job.setup.spec.spec.step_seconds is not None:
            job.reporter.worker(0).note("step_seconds has no effect without a worker process (--jobs 1)")
        for group in job.groups:
            for key, cell in group.items():
                error = attempt_cell(key, cell.spec, job.setup, job.preparer, cell)
                job.outcome.add(cell_label(cell.spec), error)


IN_PROCESS = InProcess()
