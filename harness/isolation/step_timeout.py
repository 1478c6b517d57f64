"""A limit on the time of a step, which holds even where the code that takes too long never comes back to Python."""

from __future__ import annotations

import faulthandler
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

TIMEOUT_FILE = "over_time.txt"

StepLimit = Callable[[str], AbstractContextManager[None]]
"""Called with the name of what is about to be done; while the context lasts, the limit counts."""


def no_step_limit(_: str) -> AbstractContextManager[None]:
    """The `StepLimit` that never ends anything."""
    return nullcontext()


def step_limit(seconds: float, folder: Path) -> StepLimit:
    """The `StepLimit` that ends this process when a step takes longer than so many seconds.

    What was going on, and where every thread stood, is left in ``folder`` for whoever started the process.
    """

    @contextmanager
    def limited(what: str) -> Iterator[None]:
        path = folder / TIMEOUT_FILE
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as file:
            file.write(f"{what} took longer than step_seconds ({seconds:g})\n")
            file.flush()
            # A thread of its own that needs no lock of the interpreter.
            faulthandler.dump_traceback_later(seconds, exit=True, file=file)
            try:
                yield
            finally:
                faulthandler.cancel_dump_traceback_later()
                path.unlink(missing_ok=True)

    return limited


def pop_timeout_report(folder: Path) -> tuple[str, str] | None:
    """What a process that ended at its limit left in ``folder``: what took too long, and where every thread stood. None
    where none did.

    The report is removed, so that a later death is not taken for the same.
    """
    path = folder / TIMEOUT_FILE
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        path.unlink()
    except OSError:
        return None
    first, _, where = text.partition("\n")
    return (first, where) if where.startswith("Timeout") else None
