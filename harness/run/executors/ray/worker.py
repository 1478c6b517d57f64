"""A worker on some machine of the cluster: cells in a folder of its own, everything sent to the driver."""

from __future__ import annotations

import queue
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import RunError, error_text
from harness.isolation.step_timeout import pop_timeout_report
from harness.isolation.worker_restart import OpenFiles, restart_reason
from harness.records.journal import Journal
from harness.run.cell_label import cell_label
from harness.run.executors.attempt_cell import attempt_cell, record_failure
from harness.run.executors.remote_reporter import Message, RemoteReporter
from harness.run.executors.worker_setup import WorkerSetup
from harness.run.reporter import CellEnd
from harness.run.run_folder import JOURNAL, RunFolder

_MAX_UNSENT = 64  # messages that the driver has not taken; then the work waits


@dataclass(frozen=True)
class ClusterWorkerSetup:
    """A worker's setup for other machines: plugin files by content, since they may share no file system.

    Attributes:
        version: of the driver's harness.
    """

    setup: WorkerSetup
    plugins: tuple[tuple[Path, bytes], ...]
    version: str


@dataclass(frozen=True)
class WorkerLocation:
    """Where a worker is that is ready.

    Attributes:
        node: the machine's name in the cluster.
        host: its own name.
        folder: where the worker keeps what it is doing.
    """

    node: str
    host: str
    folder: Path


class SendingRunFolder(RunFolder):
    """A run directory whose journals are sent as they grow."""

    def __init__(self, root: Path, send: Callable[[Message], None]) -> None:
        super().__init__(root)
        self._send = send

    def journal(self, key: str) -> Journal:
        """As in `RunFolder`; each line is sent when it has been written."""
        return Journal(self.cell(key) / JOURNAL, lambda line: self._send(("journal", (key, line))))


class CellWorker:
    """Becomes an actor of the cluster; lives until the driver is done with it."""

    def __init__(self, driver: ClusterWorkerSetup) -> None:
        from harness import __version__

        if driver.version != __version__:
            raise RunError(
                f"{socket.gethostname()} has harness {__version__}, the driver {driver.version}; install the same "
                "everywhere"
            )
        self._root = Path(tempfile.mkdtemp(prefix="harness-worker-"))
        files = tuple(_local_copy(*plugin, self._root / f"plugin-{i}") for i, plugin in enumerate(driver.plugins))
        self._folder = SendingRunFolder(self._root, self._tell)
        self._setup = replace(driver.setup, plugin_files=files).load(self._folder)
        self._preparer = self._setup.preparer(
            RemoteReporter(self._tell), lambda artifact: self._tell(("artifact", (artifact,)))
        )
        self._send: Callable[[Message], None] = lambda _: None  # to the driver, of the cell in hand
        self._open_files = OpenFiles()

    def location(self) -> WorkerLocation:
        """Where it is; answered when it is ready."""
        import ray

        return WorkerLocation(ray.get_runtime_context().get_node_id(), socket.gethostname(), self._root)

    def do(self, key: str, place: int, journal: bytes) -> Iterator[Message]:
        """Do a cell, going on where its journal ends; gives what the driver is to know, ``ended`` last."""
        messages: queue.Queue[Message] = queue.Queue(_MAX_UNSENT)
        thread = threading.Thread(target=self._do, args=(key, place, journal, messages.put), daemon=True)
        thread.start()
        while True:
            message = messages.get()
            yield message
            if message[0] == "ended":
                return

    def _do(self, key: str, place: int, journal: bytes, send: Callable[[Message], None]) -> None:
        cell = self._setup.spec.cells[place]
        folder = self._folder.cell(key)
        error: str | None = None
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            if journal:
                (folder / JOURNAL).write_bytes(journal)
            self._send = send
            resolved = self._preparer.resolver.resolve(cell)
            if resolved.keys.cell != key:
                raise RunError(
                    f"{socket.gethostname()} finds other data or another model than the driver; put the same everywhere"
                )
            error = attempt_cell(key, cell, self._setup, self._preparer, resolved)
        except BaseException as problem:
            error = error_text(problem)
            record_failure(key, cell, self._setup, error, error)
            send(("cell_done", (CellEnd(cell_label(cell), error=error),)))
        files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != JOURNAL and path.is_file()}
        shutil.rmtree(folder, ignore_errors=True)
        send(("files", (key, files)))
        send(("ended", (key, error, restart_reason(error, self._open_files))))

    def _tell(self, message: Message) -> None:
        self._send(message)

    def remove_folder(self) -> None:
        """Remove where it kept what it was doing."""
        shutil.rmtree(self._root, ignore_errors=True)


def after_death(root: Path, key: str) -> tuple[str, str] | None:
    """On the machine of a worker that died: whether the step took too long, as in `pop_timeout_report`. Clears up."""
    found = pop_timeout_report(RunFolder(root).cell(key))
    shutil.rmtree(root, ignore_errors=True)
    return found


def _local_copy(path: Path, content: bytes, folder: Path) -> Path:
    """A plugin file of the driver on this machine: the same one where there is one."""
    try:
        if path.read_bytes() == content:
            return path
    except OSError:
        pass
    folder.mkdir(parents=True)
    copy = folder / path.name
    copy.write_bytes(content)
    return copy


def remote_worker(**options: Any) -> Any:
    """The actor class, with what is asked of the cluster for it."""
    import ray

    # Retries are the driver's: it knows what a cell had done.
    return ray.remote(CellWorker).options(max_restarts=0, max_task_retries=0, **options)
