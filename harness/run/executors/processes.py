"""Several processes on one machine, each doing whole groups of cells.

None outlives the run, and one that dies takes only its cell with it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence, Set as AbstractSet
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from harness.isolation.captured_output import CapturedOutput, finish_log, last_line
from harness.isolation.step_timeout import pop_timeout_report
from harness.isolation.worker_restart import OpenFiles, restart_reason
from harness.run.cell_label import cell_label
from harness.run.executors.attempt_cell import attempt_cell
from harness.run.executors.executor import MAX_DEATHS, Job
from harness.run.executors.remote_reporter import Message, RemoteReporter, pass_on
from harness.run.executors.worker_context import worker_context
from harness.run.executors.worker_setup import WorkerSetup
from harness.run.prepare.resolved_cell import ResolvedCell
from harness.run.run_folder import RunFolder


@dataclass(frozen=True)
class Processes:
    """So many processes, each with an equal share of the machine's threads; models of one victim stay with one."""

    jobs: int

    def max_workers(self, victims: int) -> int:
        """As many as were asked for, but no more than there are victims."""
        return max(1, min(self.jobs, victims))

    def work(self, job: Job) -> None:
        """Share the groups of cells out among the processes."""
        workers = self.max_workers(job.victims)
        # Even for one group that is left: the threads of a worker must not change when a run is resumed.
        files = tuple(path.resolve() for path in job.plugin_files)
        _ProcessDriver(job, WorkerSetup.of(job.setup, files, workers)).run(workers)


class _WorkerProcess:
    """A process and the group of cells that it is on."""

    def __init__(self, index: int, setup: WorkerSetup, root: Path, places: dict[str, int]) -> None:
        self.index, self.setup, self.root, self.places = index, setup, root, places
        self.group: dict[str, ResolvedCell] = {}
        self.log = root / "logs" / f"worker-{index}.txt"
        self.process: BaseProcess
        self.pipe: Connection
        self.start()

    def start(self) -> None:
        """Start the process, or a fresh one in place of one that ended."""
        self.is_worn_out = False  # it ends by itself, so that a fresh one can take its place
        self.log_start = self.log.stat().st_size if self.log.exists() else 0  # bytes that are older than the process
        context = worker_context(self.setup.shared_by)
        self.pipe, worker_end = context.Pipe()
        arguments = (self.setup, self.root, self.log, worker_end)
        self.process = context.Process(target=_work, args=arguments, daemon=True)
        resource_tracker.ensure_running()  # its own start would unblock the signal
        # The child inherits the mask: Ctrl-C, which goes to every process of a terminal, is for the driver alone.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        worker_end.close()

    def assign(self, group: dict[str, ResolvedCell]) -> None:
        """Hand over a group of cells."""
        self.group = dict(group)
        with contextlib.suppress(BrokenPipeError):  # it has died: reading from the pipe will say so
            self.pipe.send([(key, self.places[key]) for key in group])

    def how_it_ended(self) -> str:
        """Signal or exit status, and what it printed last."""
        code = self.process.exitcode or 0
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        printed = last_line(self.log, self.log_start)
        return f"{how}; last words: {printed}" if printed else how

    def stop(self) -> None:
        """End the process at once; its journals stay."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


_Group = dict[str, ResolvedCell]


def _needed_by(group: _Group) -> frozenset[str]:
    """Keys of all artifacts that the cells are made with."""
    return frozenset(key for cell in group.values() for key in cell.artifact_keys)


def choose_group(waiting: Sequence[AbstractSet[str]], begun: AbstractSet[str], is_made: Callable[[str], bool]) -> int:
    """Index of the first group that need not wait for what another worker is making, such as a pretraining that five
    seeds share; 0 where all would wait.

    Args:
        waiting: keys of the artifacts that each group needs.
        begun: those that the groups of busy workers need.
        is_made: whether an artifact is there.
    """
    missing = {key for key in begun & frozenset().union(*waiting) if not is_made(key)}
    return next((at for at, needed in enumerate(waiting) if not needed & missing), 0)


@dataclass
class _ProcessDriver:
    """Hands groups of cells to workers, and fresh ones in place of those that died."""

    job: Job
    setup: WorkerSetup
    workers: list[_WorkerProcess] = field(default_factory=list)
    deaths: dict[str, int] = field(default_factory=dict)  # of workers, by key of the cell that they were on

    def run(self, workers: int) -> None:
        waiting = [(group, _needed_by(group)) for group in self.job.groups]
        try:
            self.workers += (
                _WorkerProcess(index, self.setup, self.job.setup.folder.root, self.job.places)
                for index in range(min(workers, len(waiting)))
            )
            for worker in self.workers:
                self.job.reporter.worker(worker.index).stage("start a worker")  # its imports take seconds
                worker.assign(self._take(waiting))
            while busy := [worker for worker in self.workers if worker.group]:
                for pipe in wait([worker.pipe for worker in busy]):
                    worker = next(w for w in self.workers if w.pipe is pipe)
                    try:
                        self._handle(worker, worker.pipe.recv())
                    except (EOFError, OSError):  # also in the middle of a message
                        self._replace(worker)
                    if not worker.group and waiting:
                        worker.assign(self._take(waiting))
        finally:
            for worker in self.workers:
                worker.stop()
                finish_log(worker.log)

    def _take(self, waiting: list[tuple[_Group, frozenset[str]]]) -> _Group:
        store = self.job.preparer.artifacts.store
        begun = frozenset().union(*(_needed_by(worker.group) for worker in self.workers))
        at = choose_group([needed for _, needed in waiting], begun, lambda key: store.find(key) is not None)
        return waiting.pop(at)[0]

    def _handle(self, worker: _WorkerProcess, message: Message) -> None:
        match message:
            case "ended", (key, error):
                self.job.outcome.add(cell_label(worker.group.pop(key).spec), error)
            case "worn out", ():
                worker.is_worn_out = True
            case _:
                pass_on(message, self.job.reporter.worker(worker.index))

    def _replace(self, worker: _WorkerProcess) -> None:
        """A worker ended: go on with a fresh one, which tries the cell in hand again unless that is given up."""
        worker.process.join()
        if worker.group and not worker.is_worn_out:
            self._count_death(worker)
        worker.pipe.close()
        worker.start()
        if worker.group:
            worker.assign(worker.group)

    def _count_death(self, worker: _WorkerProcess) -> None:
        """Of a worker, on the first cell of its group, which fails where that was once too often."""
        key, cell = next(iter(worker.group.items()))
        self.deaths[key] = self.deaths.get(key, 0) + 1
        ended = worker.how_it_ended()
        failure: tuple[str, str | None] | None = pop_timeout_report(self.job.setup.folder.cell(key))
        if failure is None and self.deaths[key] >= MAX_DEATHS:
            often = f"its process died {MAX_DEATHS} times ({ended})"
            failure = f"{often}; if memory ran out, use fewer --jobs or a smaller model", None
        if failure is None:
            reporter = self.job.reporter.worker(worker.index)
            reporter.note(f"a worker died ({ended}); another continues {cell_label(cell.spec)}")
            return
        del worker.group[key]
        self.job.failed(key, cell.spec, *failure, worker.index)


def _work(worker_setup: WorkerSetup, root: Path, log: Path, pipe: Connection) -> None:
    """A worker's life: groups of cells until the driver is gone."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    captured: CapturedOutput | None = None
    with contextlib.suppress(OSError):  # a full disk: then it is printed where the driver prints
        captured = CapturedOutput(log)
        captured.redirect()
    setup = worker_setup.load(RunFolder(root))
    preparer = setup.preparer(RemoteReporter(pipe.send))
    open_files = OpenFiles()
    while True:
        try:
            group = pipe.recv()
        except EOFError:
            return
        for key, place in group:
            cell = setup.spec.cells[place]
            error = attempt_cell(key, cell, setup, preparer)
            if captured:
                captured.flush()
            pipe.send(("ended", (key, error)))
            if why := restart_reason(error, open_files):
                pipe.send(("note", (f"{why} by {cell_label(cell)}; a fresh worker continues",)))
                pipe.send(("worn out", ()))
                os._exit(0)


def _die_with_parent() -> None:
    """End this process when its parent has ended, however it ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
