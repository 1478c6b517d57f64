"""A cluster whose machines are processes of this one, with a node for the driver and some for the work."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.processes import LONGEST, started_by
from tests.run.runs import ENVIRONMENT, FROM_FILES, Started, command

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'robustness-harness[ray]'")
HERE = Path(__file__).parent
PLUGINS = [*FROM_FILES, f"--plugin={HERE / 'plugins.py'}"]
STORE = 80_000_000  # bytes of shared memory for each node


class Nodes:
    """Several nodes on loopback; the head has no CPU to give."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        os.environ |= ENVIRONMENT  # nodes, and the workers on them, take it over
        soon = {"health_check_period_ms": 500}  # a node that does not answer five times is lost: not after 15 seconds
        head = {"num_cpus": 0, "object_store_memory": STORE, "_system_config": soon}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.address = str(self.cluster.address)
        self.added: list[Any] = []

    def add(self, **what: Any) -> Any:
        """One more node; a handle of it."""
        self.added.append(self.cluster.add_node(**{"num_cpus": 1, "object_store_memory": STORE} | what))
        return self.added[-1]

    def kill(self, node: Any) -> None:
        """Kill a node's processes, as a power cut does."""
        workers = workers_of(node)
        self.added.remove(node)
        self.cluster.remove_node(node, allow_graceful=False)
        for worker in workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()

    def end(self) -> None:
        """End all."""
        self.cluster.shutdown()


def workers_of(node: Any) -> list[psutil.Process]:
    """Processes on a node that do cells."""
    raylets = node.all_processes.get("raylet", [])
    return [worker for raylet in raylets for worker in started_by(raylet.process.pid, "CellWorker")]


@pytest.fixture(scope="module")
def head() -> Iterator[Nodes]:
    made = Nodes()
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def nodes(head: Nodes) -> Iterator[Nodes]:
    """The head alone; what a test adds goes with it."""
    yield head
    for node in list(head.added):
        head.added.remove(node)
        head.cluster.remove_node(node)


def far(nodes: Nodes, *more: object) -> list[object]:
    """Arguments of a run on the cluster."""
    return ["run", "spec.yaml", "--out", "far", "--executor", "ray", "--address", nodes.address, *PLUGINS, *more]


def wait_until(said: Any, seconds: float = LONGEST) -> None:
    """Until a question is answered with yes."""
    end = time.monotonic() + seconds
    while not said():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


__all__ = ["PLUGINS", "Nodes", "Started", "command", "far", "wait_until", "workers_of"]
