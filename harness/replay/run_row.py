"""Cells of a row run with an attack that somebody brings, with all that a run checks and records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.errors import DataError
from harness.number_format import counted
from harness.registry.registry import Registry
from harness.replay.replay_progress import ReplayView
from harness.run.reporter import Forecast, WorkReporter
from harness.run.runner import run
from harness.spec.load import LoadedSpec


@dataclass(frozen=True)
class _RowView:
    """Says what a run will take, and then what it does, as a replay does."""

    view: ReplayView

    def begin(self, cells: int, already_done: int, forecast: Forecast | None) -> None:
        """The run starts."""
        self.view.announce(f"trying the strings in {counted(cells, 'cell')}", forecast)

    def worker(self, index: int) -> WorkReporter:
        """There is one, this process."""
        return self.view


def run_row(spec: LoadedSpec, registry: Registry, root: Path, store: str | Path, view: ReplayView) -> None:
    """Run all cells of a spec in this process, in a new run directory ``root``.

    Models are made ready as for a run, or found in ``store``; what that takes is said first.

    Raises:
        DataError: a cell failed; the first reason.
    """
    outcome = run(spec, registry, root, _RowView(view), store)
    if outcome.failed:
        label, reason = outcome.failed[0]
        raise DataError(f"{label}: {' '.join(reason.splitlines())}")
