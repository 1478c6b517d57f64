"""How a worker's progress reaches the driver: as messages, sent at one end and acted on at the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from harness.run.reporter import CellEnd, CellProgress, WorkReporter

Message = tuple[str, tuple[Any, ...]]
"""A method of `harness.run.reporter.WorkReporter`, or a word of the executor's own, and its arguments."""


class RemoteReporter:
    """A worker's reporter; sends progress at most ten times a second, the rest at once."""

    EVERY = 0.1

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send
        self._last = 0.0

    def _tell(self, what: str, *values: Any) -> None:
        self._send((what, values))

    def stage(self, what: str) -> None:
        self._tell("stage", what)

    def note(self, what: str) -> None:
        self._tell("note", what)

    def progress(self, what: str, done: float, total: float) -> None:
        if done >= total or time.monotonic() - self._last > self.EVERY:
            self._last = time.monotonic()
            self._tell("progress", what, done, total)

    def cell(self, progress: CellProgress) -> None:
        if progress.steps >= progress.steps_total or time.monotonic() - self._last > self.EVERY:
            self._last = time.monotonic()
            self._tell("cell", progress)

    def cell_done(self, end: CellEnd) -> None:
        self._tell("cell_done", end)


def pass_on(message: Message, reporter: WorkReporter) -> None:
    """Tell the driver's reporter what a worker told its own."""
    what, values = message
    getattr(reporter, what)(*values)
