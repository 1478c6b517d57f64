"""How the progress of a run is shown: bars in a terminal, plain lines elsewhere (see `harness.run.reporter`)."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from harness.cli.console.time_left import TimeLeft
from harness.errors import one_line
from harness.number_format import counted, format_flops, format_memory, format_seconds
from harness.run.reporter import CellEnd, CellProgress, Forecast, Silent


def progress_view(silent: bool, unit: str = "cells") -> Any:
    """The live view in a terminal, plain lines elsewhere, or nothing.

    Args:
        unit: what the bar over all counts.
    """
    if silent:
        return nullcontext(Silent())
    console = Console(stderr=True)
    return LiveView(console, unit) if console.is_terminal else PlainView(console)


class LiveView:
    """A reporter for terminals: a bar over cells, one per worker with its figures, above them a line per finished cell.
    Use as a context.
    """

    def __init__(self, console: Console, unit: str = "cells") -> None:
        self.console = console
        self.cells = Progress(
            TextColumn(f"[bold]{unit}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[spent]}"),
            TimeElapsedColumn(),
            _Left(self),
            console=console,
        )
        self.work = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(16),
            TaskProgressColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
            console=console,
        )
        self.live = Live(Group(self.cells, self.work), console=console, refresh_per_second=4)
        self.bar = self.cells.add_task("", total=None, spent="")
        self.spent = 0.0
        self.unknown = False  # whether there was compute that nobody knows
        self.workers: dict[int, _LiveWorker] = {}
        self.time_left = TimeLeft(0, {})  # until the run begins

    def __enter__(self) -> LiveView:
        self.live.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        for worker in self.workers.values():
            worker.hide()
        self.live.__exit__(None, None, None)

    def begin(self, cells: int, already_done: int, forecast: Forecast | None) -> None:
        self.console.print(_opening(cells, already_done, forecast), highlight=False)
        self.cells.reset(self.bar, total=cells - already_done)
        self.time_left = _time_left(cells - already_done, forecast)

    def worker(self, index: int) -> _LiveWorker:
        if index not in self.workers:  # each makes a row of its own
            self.workers[index] = _LiveWorker(self, index)
        return self.workers[index]

    def add_spent(self, amount: float) -> None:
        """Attack compute of all workers, nominal FLOPs; NaN where unknown."""
        if math.isnan(amount):
            self.unknown = True
        else:
            self.spent += amount
        known = [format_flops(self.spent)] * bool(self.spent or not self.unknown)
        self.cells.update(self.bar, spent="attacks " + " + ".join(known + ["unknown"] * self.unknown))


class _Left(ProgressColumn):
    """How long the run still takes, as far as anything tells."""

    max_refresh = 1.0

    def __init__(self, view: LiveView) -> None:
        super().__init__()
        self._view = view

    def render(self, task: Task) -> Text:
        return Text(_left_words(self._view.time_left))


class _LiveWorker:
    def __init__(self, view: LiveView, index: int) -> None:
        self.view, self.index = view, index
        self.row = view.work.add_task("", total=None, figures="")
        self.began = time.monotonic()
        self.spent = 0.0

    def hide(self) -> None:
        self.view.work.update(self.row, visible=False)

    def stage(self, what: str) -> None:
        self.began, self.spent = time.monotonic(), 0.0
        self.view.work.reset(self.row, description=_line(what), total=None, figures="")
        self.view.time_left.stage(self.index, what)

    def note(self, what: str) -> None:
        self.view.console.print(_line(f"note    {what}"), markup=False, highlight=False, style="yellow")

    def progress(self, what: str, done: float, total: float) -> None:
        self.view.work.update(self.row, completed=done, total=total, figures=what)
        self._share(done, total)

    def cell(self, progress: CellProgress) -> None:
        rate = progress.steps / max(1e-9, time.monotonic() - self.began)
        self.view.add_spent(progress.spent.nominal - self.spent)
        self.spent = progress.spent.nominal
        figures = f"{rate:.1f} steps/s  {_asr_so_far(progress)}  {_compute(self.spent)}"
        self.view.work.update(self.row, completed=progress.steps, total=progress.steps_total, figures=figures)
        self._share(progress.steps, progress.steps_total)

    def cell_done(self, end: CellEnd) -> None:
        self.view.time_left.cell_done(self.index, end.label)
        self.view.cells.advance(self.view.bar)
        style = "red" if end.error else "yellow" if end.untold else ""
        self.view.console.print(_line(_cell_line(end)), markup=False, highlight=False, style=style)

    def _share(self, done: float, total: float) -> None:
        if total:
            self.view.time_left.progress(self.index, done / total)


class PlainView:
    """A reporter for logs: a line per event and, inside long pieces of work, a line every ten seconds; each behind
    the time since the run began, those of finished cells with the time that is left.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.workers: dict[int, _PlainWorker] = {}
        self.began: float | None = None
        self.time_left = TimeLeft(0, {})  # until the run begins

    def __enter__(self) -> PlainView:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def say(self, line: str) -> None:
        """Print a line; once the run has begun, behind the time since then."""
        if self.began is not None:
            line = f"{timedelta(seconds=int(time.monotonic() - self.began))}  {line}"
        self.console.print(_line(line), markup=False, highlight=False, soft_wrap=True)

    def begin(self, cells: int, already_done: int, forecast: Forecast | None) -> None:
        self.say(_opening(cells, already_done, forecast))
        self.began = time.monotonic()
        self.time_left = _time_left(cells - already_done, forecast)

    def worker(self, index: int) -> _PlainWorker:
        return self.workers.setdefault(index, _PlainWorker(self, index))


class _PlainWorker:
    EVERY = 10.0

    def __init__(self, view: PlainView, index: int) -> None:
        self.view, self.index = view, index
        self.last = time.monotonic()
        self.what = ""

    def stage(self, what: str) -> None:
        self.what, self.last = what, time.monotonic()
        self.view.say(what)
        self.view.time_left.stage(self.index, what)

    def note(self, what: str) -> None:
        self.view.say(f"note    {what}")

    def progress(self, what: str, done: float, total: float) -> None:
        self._now_and_then(f"{what}: {done / max(total, 1e-9):.0%}")

    def cell(self, progress: CellProgress) -> None:
        share = f"{progress.steps}/{progress.steps_total} example-steps"
        self._now_and_then(f"{share}, {_asr_so_far(progress)}, {_compute(progress.spent.nominal)}")

    def cell_done(self, end: CellEnd) -> None:
        self.view.time_left.cell_done(self.index, end.label)
        self.view.say(", ".join(filter(None, [_cell_line(end), _left_words(self.view.time_left)])))

    def _now_and_then(self, line: str) -> None:
        if time.monotonic() - self.last > self.EVERY:
            self.last = time.monotonic()
            self.view.say(f"  {self.what}: {line}")


def _opening(cells: int, already_done: int, forecast: Forecast | None) -> str:
    line = f"{counted(cells, 'cell')}, {already_done} done already"
    if forecast is None or cells == already_done:
        return line
    if forecast.unknown and not forecast.flops:
        return f"{line}; the compute for the rest is unknown"
    line += (
        f"; the rest is estimated at {format_flops(forecast.flops)} (nominal), about {format_seconds(forecast.seconds)}"
    )
    if forecast.untimed:
        stages = counted(forecast.stages, "stage")
        line += f"; of {stages} {forecast.unknown} take unknown compute, {forecast.untimed} unknown time"
    return f"{line}; memory at most {format_memory(forecast.memory)}" if forecast.memory else line


def _time_left(cells: int, forecast: Forecast | None) -> TimeLeft:
    return TimeLeft(cells, {} if forecast is None else forecast.expected, 1 if forecast is None else forecast.workers)


def _left_words(time_left: TimeLeft) -> str:
    seconds = time_left.seconds()
    return f"about {format_seconds(seconds)} left" if seconds else ""


def _compute(spent: float) -> str:
    return "compute unknown" if math.isnan(spent) else format_flops(spent)


def _asr_so_far(progress: CellProgress) -> str:
    asr = "no verdict yet" if progress.asr is None else f"ASR so far {progress.asr:.0%}"
    return asr + (f", {progress.untold} of {progress.asked} without a verdict" if progress.untold else "")


def _cell_line(end: CellEnd) -> str:
    if end.error:
        return f"failed  {end.label}: {end.error}"
    broken = f"ASR {end.asr:.0%}" if end.asr is not None else "no ASR" if end.untold else "no example attacked"
    rates = [end.answered, broken, "" if end.clean is None else f"{end.clean_measure} {end.clean:.1%}", end.untold]
    return f"done    {end.label}: {', '.join(filter(None, rates))}"


def _line(text: str) -> str:
    """One line of a log, whatever a plugin, a library or a server has said."""
    return one_line(" ".join(text.splitlines()))
