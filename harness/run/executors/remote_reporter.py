"""A worker's reporter: everything is sent to the driver."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from harness.run.reporter import CellProgress

Message = tuple[str, tuple[Any, ...]]
"""What is told, and its arguments: a method of `harness.run.reporter.WorkReporter`, or a word of the executor's own."""


class RemoteReporter:
    """Sends progress at most ten times a second, the rest at once."""

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

    def cell_done(self, label: str, asr: float | None, clean: float | None, error: str | None) -> None:
        self._tell("cell_done", label, asr, clean, error)
