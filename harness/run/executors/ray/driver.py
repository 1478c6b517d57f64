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
from harness.run.executors.ray import nodes, received_files as inbox
from harness.run.executors.ray.schedule import Schedule, ScheduledCell
from harness.run.executors.ray.worker import FarOrder, Hello, after_death, remote_worker
from harness.run.executors.remote_reporter import Message
from harness.run.executors.worker_setup import WorkerSetup
from harness.spec.resources import Resources
from harness.store.open import is_url

MAX_LOST = 5  # of machines under one cell: that is seldom the cell's doing
TAKEN = 256  # messages of a worker that may be under way; then it waits
LOOK = 2.0  # seconds between two looks at the cluster


@dataclass
class _Worker:
    """An actor: asked for, ready, or on a cell."""

    index: int
    shape: Resources
    actor: Any
    coming: Any  # what its greeting arrives in
    hello: Hello | None = None
    task: ScheduledCell | None = None
    stream: Any = None
    opened: str | None = None  # the model that it has open


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
        found = nodes.room(nodes.join(self.address).nodes(), Resources())
        return max(1, found if self.jobs is None else min(found, self.jobs))

    def work(self, job: Job) -> None:
        """Hand out the cells."""
        ray = nodes.join(self.address)
        log = job.setup.folder.root / "logs" / "ray.txt"
        log.parent.mkdir(parents=True, exist_ok=True)
        # Ray prints what its machines have to say of themselves, until it is shut down.
        with log.open("a", encoding="utf-8") as printed, contextlib.redirect_stdout(printed):
            try:
                _Driver(ray, job, self).run()
            finally:
                ray.shutdown()


@dataclass
class _Driver:
    ray: Any
    job: Job
    cluster: RayCluster
    workers: list[_Worker] = field(default_factory=list)
    no_room_since: dict[Resources, float] = field(default_factory=dict)
    looked: float = -math.inf  # when the cluster was last looked at

    def __post_init__(self) -> None:
        tasks = []
        for group in self.job.groups:
            for key, cell in group.items():
                place = self.job.places[key]
                tasks.append(ScheduledCell(key, cell.spec, place, cell.artifact_keys, cell.keys.weights))
        store = self.job.preparer.artifacts.store
        self.schedule = Schedule(tasks, lambda key: store.find(key) is not None)
        self.order = self._order()

    def run(self) -> None:
        try:
            while self.schedule.waiting or self.schedule.running:
                self._look()
                self._hand_out()
                self._listen()
        finally:
            for worker in list(self.workers):
                self._dismiss(worker)

    def _order(self) -> FarOrder:
        from harness import __version__

        setup = self.job.setup
        files = tuple((path.resolve(), path.read_bytes()) for path in self.job.plugin_files)
        store = setup.store if is_url(setup.store) else str(Path(setup.store).resolve())
        sources = Sources(tuple(source.resolve() for source in setup.sources.runs))
        return FarOrder(replace(WorkerSetup.of(setup, (), None), store=store, sources=sources), files, __version__)

    def _look(self) -> None:
        """Ask for workers where there is room and work for them; give up cells that there is no room for at all."""
        if time.monotonic() - self.looked < LOOK:
            return
        self.looked = time.monotonic()
        there = self.ray.nodes()
        for shape in self.schedule.shapes():
            room = nodes.room(there, shape)
            if not room:
                self._no_room(shape, there)
                continue
            self.no_room_since.pop(shape, None)
            own = [worker for worker in self.workers if worker.shape == shape]
            idle = sum(worker.task is None for worker in own)
            most = room if self.cluster.jobs is None else min(room, self.cluster.jobs - len(self.workers) + len(own))
            for _ in range(min(self.schedule.ready(shape) - idle, most - len(own))):
                self._ask_for(shape)

    def _no_room(self, shape: Resources, there: list[dict[str, Any]]) -> None:
        since = self.no_room_since.get(shape)
        if since is None:
            self.no_room_since[shape] = time.monotonic()
            self.job.reporter.worker(0).note(
                f"no machine of the cluster has {nodes.resources_text(shape)}; waiting for one"
            )
        elif time.monotonic() - since > self.cluster.patience:
            message = (
                f"asks for {nodes.resources_text(shape)}, and the largest machines of the cluster have "
                f"{nodes.largest(there)}; ask for less in `resources`, or add such a machine and run it again"
            )
            while task := self.schedule.next(shape):
                self.schedule.ended(task.key)
                self.job.failed(task.key, task.cell, message)

    def _ask_for(self, shape: Resources) -> None:
        taken = {worker.index for worker in self.workers}
        index = next(i for i in range(len(taken) + 1) if i not in taken)
        self.job.reporter.worker(index).stage("start a worker on the cluster")  # for which Ray may have no room yet
        actor = remote_worker(**nodes.options(shape)).remote(
            replace(self.order, order=replace(self.order.order, threads=shape.cpus or 1))
        )
        self.workers.append(_Worker(index, shape, actor, actor.hello.remote()))

    def _hand_out(self) -> None:
        for worker in list(self.workers):
            if worker.hello is None or worker.task is not None:
                continue
            task = self.schedule.next(worker.shape, worker.opened)
            if task is not None:
                self._give(worker, task)
            elif not self.schedule.left(worker.shape):
                self._dismiss(worker)  # others may need its room

    def _give(self, worker: _Worker, task: ScheduledCell) -> None:
        folder = self.job.setup.folder
        worker.task, worker.opened = task, task.weights
        try:
            journal = inbox.journal_of(folder, task.key)
            inbox.begin(folder, task.key, journal)
        except OSError as error:
            worker.task = None
            self.schedule.ended(task.key)
            self.job.failed(task.key, task.cell, str(error))
            return
        far = worker.actor.do.options(num_returns="streaming", _generator_backpressure_num_objects=TAKEN)
        worker.stream = far.remote(task.key, task.place, journal)

    def _listen(self) -> None:
        """Wait for something to happen, and take everything that has."""
        sources = {worker.coming: worker for worker in self.workers if worker.hello is None}
        sources |= {worker.stream: worker for worker in self.workers if worker.task is not None}
        if not sources:
            time.sleep(LOOK / 4)  # nothing but waiting for room
            return
        for source in self.ray.wait(list(sources), num_returns=1, timeout=LOOK, fetch_local=False)[0]:
            worker = sources[source]
            try:
                if worker.hello is None:
                    worker.hello = self.ray.get(source)
                    continue
                self._take(worker)
            except self.ray.exceptions.RayError as error:
                self._lost(worker, error)
            except OSError as error:  # the run directory cannot be written
                task = worker.task
                self._dismiss(worker)
                if task is not None:
                    self.schedule.ended(task.key)
                    self.job.failed(task.key, task.cell, str(error))

    def _take(self, worker: _Worker) -> None:
        """All messages of a worker that have come."""
        while worker.task is not None:
            self._hear(worker, self.ray.get(next(worker.stream)))
            if worker.task is None or not self.ray.wait([worker.stream], timeout=0, fetch_local=False)[0]:
                return

    def _hear(self, worker: _Worker, message: Message) -> None:
        what, values = message
        folder, told = self.job.setup.folder, self.job.reporter.worker(worker.index)
        if what == "journal":
            inbox.add_line(folder, *values)
        elif what == "files":
            inbox.put_files(folder, *values)
        elif what == "made":
            self.schedule.made(*values)
        elif what == "ended":
            key, error, worn = values
            task = self.schedule.ended(key)
            worker.task = worker.stream = None
            self.job.outcome.add(cell_label(task.cell), error)
            if worn:
                told.note(f"{worn} by {cell_label(task.cell)}; a fresh worker goes on")
                self._dismiss(worker)
        else:
            getattr(told, what)(*values)

    def _lost(self, worker: _Worker, error: Any) -> None:
        """A worker is gone: another goes on with its cell, unless that is beyond hope."""
        self.workers.remove(worker)
        self._kill(worker)
        task, hello = worker.task, worker.hello
        if hello is None:
            self._never_came(worker, error)
            return
        if task is None:
            return
        machine = self._is_gone(hello.node, error)
        over = None if machine else self._over_time(hello, task)
        task.lost += machine
        task.deaths += not machine
        why = (
            f"the machine {hello.host} was lost" if machine else f"a worker on {hello.host} died ({first_line(error)})"
        )
        if over is None and task.deaths < MAX_DEATHS and task.lost < MAX_LOST:
            self.job.reporter.worker(worker.index).note(f"{why}; another goes on with {cell_label(task.cell)}")
            self.schedule.again(task.key)
            return
        self.schedule.ended(task.key)
        if over is not None:
            self.job.failed(task.key, task.cell, *over)
        else:
            count = f"{task.deaths} times" if task.deaths else f"with {task.lost} machines"
            message = f"its process died {count}: {why}; if memory ran out, ask for more in `resources`"
            self.job.failed(task.key, task.cell, message)

    def _never_came(self, worker: _Worker, error: Any) -> None:
        """A worker that could not start says why, and so will the next: nobody can do its cells."""
        cause = getattr(error, "cause", None) or error
        known = [line for line in str(cause).splitlines() if "Error: " in line]
        if isinstance(error, self.ray.exceptions.RayActorError) and not known:
            self.job.reporter.worker(worker.index).note(f"a worker was lost while it started ({first_line(error)})")
            return
        raise RunError((known[-1] if known else first_line(error)).split("RunError: ", 1)[-1].strip())

    def _is_gone(self, node: str, error: Any) -> bool:
        """Whether a machine is no longer there; the cluster needs a moment to notice."""
        unsure = isinstance(error, self.ray.exceptions.ActorUnavailableError)
        end = time.monotonic() + (15 if unsure else 2)
        while True:
            alive = any(one["NodeID"] == node and one["Alive"] for one in self.ray.nodes())
            if not alive or time.monotonic() > end:
                return not alive or "its node has died" in str(error)
            time.sleep(0.2)

    def _over_time(self, hello: Hello, task: ScheduledCell) -> tuple[str, str] | None:
        """Whether a worker ended because a step took too long: its machine knows."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = NodeAffinitySchedulingStrategy(hello.node, soft=False)
        ask = self.ray.remote(after_death).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
        try:
            found: tuple[str, str] | None = self.ray.get(ask.remote(hello.folder, task.key), timeout=30)
        except self.ray.exceptions.RayError:
            return None
        return found

    def _dismiss(self, worker: _Worker) -> None:
        """End a worker; what its cell has done is in the journal."""
        self.workers.remove(worker)
        if worker.hello is not None and worker.task is None:
            with contextlib.suppress(self.ray.exceptions.RayError):
                self.ray.get(worker.actor.leave.remote(), timeout=5)
        self._kill(worker)

    def _kill(self, worker: _Worker) -> None:
        with contextlib.suppress(self.ray.exceptions.RayError):
            self.ray.kill(worker.actor)
