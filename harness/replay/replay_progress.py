"""What checking and replaying a submission looks like in a terminal, and as plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from harness.errors import one_line
from harness.number_format import counted, format_flops, format_seconds
from harness.registry.registry import Registry
from harness.run.prepare.preparer import Preparer
from harness.run.reporter import CellEnd, CellProgress, Forecast
from harness.store.open_store import open_store

_EVERY = 10.0  # seconds between two lines where there is no terminal


def preparer_for(registry: Registry, store: str | Path, view: ReplayView) -> Preparer:
    """What makes ready the models to be replayed, or finds them in ``store``, and tells the view."""
    return Preparer(open_store(store), registry, view)


@contextmanager
def cells_bar(console: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar over cells; gives what is to be called with (done, total)."""
    with _progress(console) as bars:
        bar = bars.add_task(what, total=None)
        yield lambda done, total: bars.update(bar, completed=done, total=total)


class ReplayView:
    """A bar of strings below a line per piece of work; both sorts of thing that a verification tells. Use as a context.

    Also a `harness.run.reporter.WorkReporter`.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bars = _progress(console)
        self.bar = self.bars.add_task("checking", total=None)
        self.done = self.wrong = 0
        self.last = time.monotonic()

    def __enter__(self) -> ReplayView:
        if self.console.is_terminal:
            self.bars.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.bars.stop()

    def checked(self, done: int, total: int) -> None:
        """Move the bar: so many cells have been checked."""
        self.bars.update(self.bar, completed=done, total=total)

    def begin(self, cells: int, strings: int, forecast: Forecast | None) -> None:
        """Say what the replay will take, and start the bar over strings."""
        self.announce(f"replaying {counted(strings, 'string')} of {counted(cells, 'cell')}", forecast)
        self.bars.reset(self.bar, description="replaying", total=strings)

    def announce(self, what: str, forecast: Forecast | None) -> None:
        """Say what is about to be done, and what it will take."""
        line = what
        if forecast is not None:
            line += f": {counted(forecast.stages, 'model')} to make ready; estimated at "
            line += f"{format_flops(forecast.flops)} (nominal), about {format_seconds(forecast.seconds)}"
            line += f"; {counted(forecast.unknown, 'part')} of an unknown amount" if forecast.unknown else ""
        self._say(line)

    def string(self, problem: str) -> None:
        """A string was replayed; what is wrong with it, or ""."""
        self.done += 1
        self.wrong += bool(problem)
        self.bars.update(self.bar, completed=self.done)
        if not self.console.is_terminal and time.monotonic() - self.last > _EVERY:
            self._say(f"  {self.done} replayed, {self.wrong} not as recorded")

    def stage(self, what: str) -> None:
        """Say that a model is made ready or loaded."""
        self._say(what)

    def note(self, what: str) -> None:
        """Say what a worker wants known."""
        self._say(what)

    def progress(self, what: str, done: float, total: float) -> None:
        """Say now and then how far a model is made ready."""
        if time.monotonic() - self.last > _EVERY:
            self._say(f"  {what}: {done / max(total, 1e-9):.0%}")

    def cell(self, progress: CellProgress) -> None:
        """Nothing is attacked here."""

    def cell_done(self, end: CellEnd) -> None:
        """Nothing is attacked here."""

    def _say(self, line: str) -> None:
        self.last = time.monotonic()
        self.console.print(one_line(" ".join(line.splitlines())), markup=False, highlight=False, soft_wrap=True)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
