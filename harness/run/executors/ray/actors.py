"""Workers of a cluster as the driver sees them: asked for, ready, on a cell, gone."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from typing import Any

from harness.errors import first_line
from harness.run.executors.ray import nodes
from harness.run.executors.ray.schedule import ScheduledCell
from harness.run.executors.ray.worker import ClusterWorkerSetup, WorkerLocation, after_death, remote_worker
from harness.spec.resources import Resources

_MAX_UNREAD = 256  # messages of a worker that may be under way; then it waits


@dataclass
class WorkerActor:
    """An actor of the cluster.

    Attributes:
        ray: Ray's module.
        starting: what its location arrives in.
        location: None: it is not ready yet.
        cell: that it is on.
        messages: what it sends of that cell, in order.
        open_weights: key of the model that it has open.
    """

    ray: Any
    index: int
    shape: Resources
    actor: Any
    starting: Any
    location: WorkerLocation | None = None
    cell: ScheduledCell | None = None
    messages: Any = None
    open_weights: str | None = None

    @classmethod
    def start(cls, ray: Any, index: int, shape: Resources, setup: ClusterWorkerSetup) -> WorkerActor:
        """Ask for a worker of a shape; the cluster may have no room for it yet."""
        fitting = replace(setup, setup=replace(setup.setup, threads=shape.cpus or 1))
        actor = remote_worker(**nodes.actor_options(shape)).remote(fitting)
        return cls(ray, index, shape, actor, actor.location.remote())

    def assign(self, cell: ScheduledCell, journal: bytes) -> None:
        """Have it do a cell, going on where the journal ends."""
        do = self.actor.do.options(num_returns="streaming", _generator_backpressure_num_objects=_MAX_UNREAD)
        self.cell, self.open_weights = cell, cell.weights
        self.messages = do.remote(cell.key, cell.place, journal)

    def release(self) -> None:
        """Its cell has ended: it can be given another."""
        self.cell = self.messages = None

    def stop(self) -> None:
        """End it; what its cell has done is in the journal."""
        if self.location is not None and self.cell is None:
            with contextlib.suppress(self.ray.exceptions.RayError):
                self.ray.get(self.actor.remove_folder.remote(), timeout=5)
        self.kill()

    def kill(self) -> None:
        """End it at once, whatever it is doing."""
        with contextlib.suppress(self.ray.exceptions.RayError):
            self.ray.kill(self.actor)

    def start_failure(self, error: Any) -> str:
        """Why it could not start, in its own words; "" where it was just lost."""
        cause = getattr(error, "cause", None) or error
        known = [line for line in str(cause).splitlines() if "Error: " in line]
        if isinstance(error, self.ray.exceptions.RayActorError) and not known:
            return ""
        return (known[-1] if known else first_line(error)).split("RunError: ", 1)[-1].strip()

    def machine_is_lost(self, error: Any) -> bool:
        """Whether its machine is no longer there; the cluster needs a moment to notice."""
        assert self.location is not None
        unsure = isinstance(error, self.ray.exceptions.ActorUnavailableError)
        end = time.monotonic() + (15 if unsure else 2)
        while True:
            alive = any(one["NodeID"] == self.location.node and one["Alive"] for one in self.ray.nodes())
            if not alive or time.monotonic() > end:
                return not alive or "its node has died" in str(error)
            time.sleep(0.2)

    def over_time(self, key: str) -> tuple[str, str] | None:
        """Whether it ended because a step of this cell took too long, as in `pop_timeout_report`: its machine knows."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        assert self.location is not None
        there = NodeAffinitySchedulingStrategy(self.location.node, soft=False)
        ask = self.ray.remote(after_death).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
        try:
            found: tuple[str, str] | None = self.ray.get(ask.remote(self.location.folder, key), timeout=30)
        except self.ray.exceptions.RayError:
            return None
        return found
