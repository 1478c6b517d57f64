"""What a run looks like in a terminal, and as plain lines elsewhere."""

from __future__ import annotations

import time

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from harness.cli.units import duration, flops
from harness.run.report import CellProgress, Forecast


class LiveView:
    """Two bars (cells, and the work in hand), one line of figures, and a line per finished cell above them. Use as a context."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.cells = Progress(
            TextColumn("[bold]cells"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=console
        )
        self.work = Progress(TextColumn("{task.description}"), BarColumn(20), TaskProgressColumn(), console=console)
        self.figures = Text("")
        self.live = Live(Group(self.cells, self.work, self.figures), console=console, refresh_per_second=4)
        self.spent = 0.0
        self._cell_spent = 0.0
        self._began = time.monotonic()
        self._cells = self.cells.add_task("", total=None)
        self._work = self.work.add_task("", total=None)

    def __enter__(self) -> LiveView:
        self.live.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.live.__exit__(None, None, None)

    def begin(self, cells: int, already_done: int, forecast: Forecast | None) -> None:
        self.console.print(_opening(cells, already_done, forecast), highlight=False)
        self.cells.reset(self._cells, total=cells - already_done)

    def stage(self, what: str) -> None:
        self._began = time.monotonic()
        self.figures.plain = ""
        self.work.reset(self._work, description=what, total=None)

    def progress(self, what: str, done: float, total: float) -> None:
        self.work.update(self._work, completed=done, total=total)
        self.figures.plain = what

    def cell(self, progress: CellProgress) -> None:
        self.work.update(self._work, completed=progress.steps, total=progress.steps_total)
        rate = progress.steps / max(1e-9, time.monotonic() - self._began)
        self._cell_spent = progress.spent.nominal
        self.figures.plain = (
            f"{rate:.1f} example-steps/s   ASR so far {progress.asr:.0%}   attack {flops(self._cell_spent)}   "
            f"this start {flops(self.spent + self._cell_spent)} (nominal)"
        )

    def cell_done(self, label: str, asr: float | None, clean: float | None, error: str | None) -> None:
        self.spent, self._cell_spent = self.spent + self._cell_spent, 0.0
        self.cells.advance(self._cells)
        self.console.print(_cell_line(label, asr, clean, error), markup=False, highlight=False, style="red" if error else "")



class PlainView:
    """A line per event and, inside long pieces of work, a line every ten seconds."""

    EVERY = 10.0

    def __init__(self, console: Console) -> None:
        self.console = console
        self._last = time.monotonic()

    def __enter__(self) -> PlainView:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def _say(self, line: str) -> None:
        self._last = time.monotonic()
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def begin(self, cells: int, already_done: int, forecast: Forecast | None) -> None:
        self._say(_opening(cells, already_done, forecast))

    def stage(self, what: str) -> None:
        self._say(what)

    def progress(self, what: str, done: float, total: float) -> None:
        if time.monotonic() - self._last > self.EVERY:
            self._say(f"  {what}: {done / total:.0%}")

    def cell(self, progress: CellProgress) -> None:
        if time.monotonic() - self._last > self.EVERY:
            self._say(
                f"  {progress.steps}/{progress.steps_total} example-steps, ASR so far {progress.asr:.0%}, {flops(progress.spent.nominal)}"
            )

    def cell_done(self, label: str, asr: float | None, clean: float | None, error: str | None) -> None:
        self._say(_cell_line(label, asr, clean, error))



def _opening(cells: int, already_done: int, forecast: Forecast | None) -> str:
    line = f"{cells} cells, {already_done} done already"
    if forecast is None or cells == already_done:
        return line
    return f"{line}; the rest is estimated at {flops(forecast.flops)} (nominal), about {duration(forecast.seconds)}"


def _cell_line(label: str, asr: float | None, clean: float | None, error: str | None) -> str:
    if error:
        return f"failed  {label}: {error}"
    broken = "no example attacked" if asr is None else f"ASR {asr:.0%}"
    return f"done    {label}: {broken}" + ("" if clean is None else f", clean accuracy {clean:.1%}")
