"""Several processes on one machine, each doing whole groups of cells.

None outlives the run, and one that dies takes only its cell with it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from harness.run.cell import label
from harness.run.layout import RunFolder
from harness.run.rejudge import Sources
from harness.run.report import CellProgress, Reporter
from harness.run.work import Outcome, RunSetup, do_cell, record_failure
from harness.spec.cells import Cell

MAX_DEATHS = 2  # of workers on one cell, before it is given up


@dataclass(frozen=True)
class Order:
    """What a worker is started with; plain data, since plugin classes from files cannot be sent."""

    spec_path: Path
    spec_hash: str
    root: Path
    store: Path
    plugin_files: tuple[Path, ...]
    jobs: int
    sources: Sources


class Worker:
    """A process and the group it is on."""

    def __init__(self, index: int, order: Order, places: dict[int, int]) -> None:
        self.index, self.order, self.places = index, order, places
        self.group: dict[str, Cell] = {}
        self.process: BaseProcess
        self.pipe: Connection
        self.start()

    def start(self) -> None:
        """Start the process, or a fresh one in place of one that died."""
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(self.order, theirs), daemon=True)
        resource_tracker.ensure_running()  # its own start would unblock the signal
        # The child inherits the mask: Ctrl-C, which goes to every process of a terminal, is for the driver alone.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()

    def give(self, group: dict[str, Cell]) -> None:
        """Hand over a group of cells."""
        self.group = dict(group)
        with contextlib.suppress(BrokenPipeError):  # it has died: the pipe's end will be heard
            self.pipe.send([(key, self.places[id(cell)]) for key, cell in group.items()])

    def stop(self) -> None:
        """End the process at once; its journals stay."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def run_groups(
    setup: RunSetup,
    groups: list[dict[str, Cell]],
    jobs: int,
    reporter: Reporter,
    outcome: Outcome,
    plugin_files: Sequence[Path],
) -> None:
    """Share the groups out; counts every cell in ``outcome``.

    Args:
        jobs: what each worker's share of the machine's threads goes by; fewer are started when there are fewer groups.
    """
    spec, root = setup.spec, setup.folder.root
    order = Order(spec.path.resolve(), spec.hash, root, setup.store, tuple(plugin_files), jobs, setup.sources)
    places = {id(cell): place for place, cell in enumerate(setup.spec.cells)}
    waiting = list(groups)
    deaths: dict[str, int] = {}
    workers: list[Worker] = []
    try:
        workers += (Worker(index, order, places) for index in range(min(jobs, len(groups))))
        for worker in workers:
            worker.give(waiting.pop(0))
        while busy := [worker for worker in workers if worker.group]:
            for pipe in wait([worker.pipe for worker in busy]):
                worker = next(w for w in workers if w.pipe is pipe)
                try:
                    _hear(worker, worker.pipe.recv(), reporter, outcome)
                except (EOFError, OSError):  # also in the middle of a message
                    _bury(worker, setup, deaths, reporter, outcome)
                if not worker.group and waiting:
                    worker.give(waiting.pop(0))
    finally:
        for worker in workers:
            worker.stop()


def _hear(worker: Worker, message: tuple[str, Any], reporter: Reporter, outcome: Outcome) -> None:
    what, values = message
    if what == "ended":
        key, error = values
        outcome.add(label(worker.group.pop(key)), error)
    else:
        getattr(reporter.worker(worker.index), what)(*values)


def _bury(worker: Worker, setup: RunSetup, deaths: dict[str, int], reporter: Reporter, outcome: Outcome) -> None:
    """A worker died in a cell: try that cell again with a fresh one, and give it up when that dies too."""
    worker.process.join()
    key, cell = next(iter(worker.group.items()))
    deaths[key] = deaths.get(key, 0) + 1
    if deaths[key] >= MAX_DEATHS:
        code = worker.process.exitcode or 0
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        message = f"its process died {MAX_DEATHS} times ({how}); if memory ran out, use fewer --jobs or a smaller model"
        record_failure(key, cell, setup, message, message)
        reporter.worker(worker.index).cell_done(label(cell), None, None, message)
        outcome.add(label(worker.group.pop(key)), message)
    worker.pipe.close()
    worker.start()
    if worker.group:
        worker.give(worker.group)


class _Teller:
    """A worker's reporter: sends everything to the driver, progress at most ten times a second."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe
        self.last = 0.0

    def _send(self, what: str, *values: Any) -> None:
        self.pipe.send((what, values))

    def stage(self, what: str) -> None:
        self._send("stage", what)

    def progress(self, what: str, done: float, total: float) -> None:
        if done >= total or time.monotonic() - self.last > 0.1:
            self.last = time.monotonic()
            self._send("progress", what, done, total)

    def cell(self, progress: CellProgress) -> None:
        self._send("cell", progress)

    def cell_done(self, label: str, asr: float | None, clean: float | None, error: str | None) -> None:
        self._send("cell_done", label, asr, clean, error)


def _work(order: Order, pipe: Connection) -> None:
    """A worker's life: load plugins and spec as the driver did, then do groups until the driver is gone."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    import torch

    from harness.registry.loader import load_plugins
    from harness.spec.load import load_spec

    torch.set_num_threads(max(1, torch.get_num_threads() // order.jobs))
    registry = load_plugins(order.plugin_files).registry
    spec = load_spec(order.spec_path, registry)
    if spec.hash != order.spec_hash:
        raise SystemExit(f"{order.spec_path} changed while the run was starting")
    setup = RunSetup(spec, registry, RunFolder(order.root), order.store, order.sources)
    preparer = setup.preparer(_Teller(pipe))
    while True:
        try:
            group = pipe.recv()
        except EOFError:
            return
        for key, place in group:
            pipe.send(("ended", (key, do_cell(key, spec.cells[place], setup, preparer))))


def _die_with_parent() -> None:
    """End this process when its parent has ended, however it ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
