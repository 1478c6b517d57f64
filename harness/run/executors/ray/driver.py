"""The driver of a run on a cluster: workers are asked for while there are cells for them, lost ones are replaced."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.errors import RunError, first_line
from harness.run.cell.rejudge import Sources
from harness.run.cell_label import cell_label
from harness.run.executors.executor import MAX_DEATHS, Job
from harness.run.executors.ray import nodes, received_files
from harness.run.executors.ray.actors import WorkerActor
from harness.run.executors.ray.schedule import Schedule, ScheduledCell
from harness.run.executors.ray.worker import ClusterWorkerSetup
from harness.run.executors.remote_reporter import Message, pass_on
from harness.run.executors.worker_setup import WorkerSetup
from harness.spec.resources import Resources
from harness.store.open_store import is_url

_MAX_LOST = 5  # of machines under one cell: that is seldom the cell's doing
_POLL_SECONDS = 2.0  # between two looks at the cluster


@dataclass
class RayCluster:
    """The workers of a Ray cluster.

    Args:
        address: of its head, HOST:PORT; None: the one that this machine belongs to.
        jobs: the most workers at a time; None: as many as there is room for.
        patience: seconds to wait for a machine that can hold what a cell asks for.
    """

    address: str | None = None
    jobs: int | None = None
    patience: float = 60.0

    def max_workers(self, victims: int) -> int:
        """As many of the smallest workers as the machines hold that are there now."""
        found = nodes.capacity(nodes.connect(self.address).nodes(), Resources())
        return max(1, found if self.jobs is None else min(found, self.jobs))

    def work(self, job: Job) -> None:
        """Hand the cells out to workers of the cluster."""
        ray = nodes.connect(self.address)
        log = job.setup.folder.root / "logs" / "ray.txt"
        log.parent.mkdir(parents=True, exist_ok=True)
        # Ray prints what its machines have to say of themselves, until it is shut down.
        with log.open("a", encoding="utf-8") as printed, contextlib.redirect_stdout(printed):
            try:
                _ClusterDriver(ray, job, self).run()
            finally:
                ray.shutdown()


@dataclass
class _ClusterDriver:
    ray: Any
    job: Job
    cluster: RayCluster
    workers: list[WorkerActor] = field(default_factory=list)
    no_room_since: dict[Resources, float] = field(default_factory=dict)
    last_look: float = -math.inf  # at the cluster

    def __post_init__(self) -> None:
        places, store = self.job.places, self.job.preparer.artifacts.store
        cells = [
            ScheduledCell(key, cell.spec, places[key], cell.artifact_keys, cell.keys.weights)
            for group in self.job.groups
            for key, cell in group.items()
        ]
        self.schedule = Schedule(cells, lambda key: store.find(key) is not None)
        self.setup = self._worker_setup()

    def run(self) -> None:
        try:
            while self.schedule.waiting or self.schedule.running:
                self._look_at_cluster()
                self._hand_out()
                self._listen()
        finally:
            for worker in list(self.workers):
                self._stop(worker)

    def _worker_setup(self) -> ClusterWorkerSetup:
        from harness import __version__

        setup = self.job.setup
        files = tuple((path.resolve(), path.read_bytes()) for path in self.job.plugin_files)
        store = setup.store if is_url(setup.store) else str(Path(setup.store).resolve())
        sources = Sources(tuple(source.resolve() for source in setup.sources.runs))
        plain = replace(WorkerSetup.of(setup, ()), store=store, sources=sources)
        return ClusterWorkerSetup(plain, files, __version__)

    def _look_at_cluster(self) -> None:
        """Ask for workers where there is room and work for them; give up cells that there is no room for at all."""
        if time.monotonic() - self.last_look < _POLL_SECONDS:
            return
        self.last_look = time.monotonic()
        machines = self.ray.nodes()
        for shape in self.schedule.shapes():
            room = nodes.capacity(machines, shape)
            if not room:
                self._no_room(shape, machines)
                continue
            self.no_room_since.pop(shape, None)
            alike = [worker for worker in self.workers if worker.shape == shape]
            idle = sum(worker.cell is None for worker in alike)
            most = room if self.cluster.jobs is None else min(room, self.cluster.jobs - len(self.workers) + len(alike))
            for _ in range(min(self.schedule.count_ready(shape) - idle, most - len(alike))):
                self._start_worker(shape)

    def _no_room(self, shape: Resources, machines: list[dict[str, Any]]) -> None:
        since = self.no_room_since.get(shape)
        if since is None:
            self.no_room_since[shape] = time.monotonic()
            self.job.reporter.worker(0).note(
                f"no machine of the cluster has {nodes.resources_text(shape)}; waiting for one"
            )
        elif time.monotonic() - since > self.cluster.patience:
            message = (
                f"asks for {nodes.resources_text(shape)}, and the largest machines of the cluster have "
                f"{nodes.largest_text(machines)}; ask for less in `resources`, or add such a machine and run it again"
            )
            while cell := self.schedule.next(shape):
                self._fail(cell, message)

    def _start_worker(self, shape: Resources) -> None:
        taken = {worker.index for worker in self.workers}
        index = next(i for i in range(len(taken) + 1) if i not in taken)
        self.job.reporter.worker(index).stage("start a worker on the cluster")
        self.workers.append(WorkerActor.start(self.ray, index, shape, self.setup))

    def _hand_out(self) -> None:
        for worker in list(self.workers):
            if worker.location is None or worker.cell is not None:
                continue
            cell = self.schedule.next(worker.shape, worker.open_weights)
            if cell is not None:
                self._assign(worker, cell)
            elif not self.schedule.has_waiting(worker.shape):
                self._stop(worker)  # others may need its room

    def _assign(self, worker: WorkerActor, cell: ScheduledCell) -> None:
        folder = self.job.setup.folder
        try:
            journal = received_files.read_journal(folder, cell.key)
            received_files.write_journal(folder, cell.key, journal)
        except OSError as error:
            self._fail(cell, str(error))
            return
        worker.assign(cell, journal)

    def _listen(self) -> None:
        """Wait for something to happen, and take everything that has."""
        sources = {worker.starting: worker for worker in self.workers if worker.location is None}
        sources |= {worker.messages: worker for worker in self.workers if worker.cell is not None}
        if not sources:
            time.sleep(_POLL_SECONDS / 4)  # nothing but waiting for room
            return
        for source in self.ray.wait(list(sources), num_returns=1, timeout=_POLL_SECONDS, fetch_local=False)[0]:
            worker = sources[source]
            try:
                if worker.location is None:
                    worker.location = self.ray.get(source)
                    continue
                self._take_messages(worker)
            except self.ray.exceptions.RayError as error:
                self._lost(worker, error)
            except OSError as error:  # the run directory cannot be written
                cell = worker.cell
                self._stop(worker)
                if cell is not None:
                    self._fail(cell, str(error))

    def _take_messages(self, worker: WorkerActor) -> None:
        """Take all messages of a worker that have come."""
        while worker.cell is not None:
            self._handle(worker, self.ray.get(next(worker.messages)))
            if worker.cell is None or not self.ray.wait([worker.messages], timeout=0, fetch_local=False)[0]:
                return

    def _handle(self, worker: WorkerActor, message: Message) -> None:
        folder, reporter = self.job.setup.folder, self.job.reporter.worker(worker.index)
        match message:
            case "journal", (key, line):
                received_files.append_journal(folder, key, line)
            case "files", (key, files):
                received_files.write_files(folder, key, files)
            case "artifact", (key,):
                self.schedule.artifact_is_there(key)
            case "ended", (key, error, restart_reason):
                label = cell_label(self.schedule.end(key).spec)
                worker.release()
                self.job.outcome.add(label, error)
                if restart_reason:
                    reporter.note(f"{restart_reason} by {label}; a fresh worker continues")
                    self._stop(worker)
            case _:
                pass_on(message, reporter)

    def _lost(self, worker: WorkerActor, error: Any) -> None:
        """A worker is gone: another goes on with its cell, unless that is given up."""
        self.workers.remove(worker)
        worker.kill()
        reporter, cell = self.job.reporter.worker(worker.index), worker.cell
        if worker.location is None:
            if failure := worker.start_failure(error):
                raise RunError(failure)  # so will the next: nobody can do its cells
            reporter.note(f"a worker was lost while it started ({first_line(error)})")
            return
        if cell is None:
            return
        machine = worker.machine_is_lost(error)
        over_time = None if machine else worker.over_time(cell.key)
        cell.lost += machine
        cell.deaths += not machine
        host = worker.location.host
        why = f"the machine {host} was lost" if machine else f"a worker on {host} died ({first_line(error)})"
        if over_time is not None:
            self._fail(cell, *over_time)
        elif cell.deaths < MAX_DEATHS and cell.lost < _MAX_LOST:
            reporter.note(f"{why}; another continues {cell_label(cell.spec)}")
            self.schedule.requeue(cell.key)
        else:
            count = f"{cell.deaths} times" if cell.deaths else f"with {cell.lost} machines"
            self._fail(cell, f"its process died {count}: {why}; if memory ran out, ask for more in `resources`")

    def _fail(self, cell: ScheduledCell, message: str, trace: str | None = None) -> None:
        """A cell that was handed out ends as failed."""
        self.schedule.end(cell.key)
        self.job.failed(cell.key, cell.spec, message, trace)

    def _stop(self, worker: WorkerActor) -> None:
        self.workers.remove(worker)
        worker.stop()
