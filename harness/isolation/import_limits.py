"""What a plugin package may do to this process while it is imported or registers.

What it prints is kept off stdout and cut short; what it changes for everybody is put back; threads that it leaves do
not keep the process from ending. All of it is reported, with its name.
"""

from __future__ import annotations

import contextlib
import io
import sys
import threading
import time
from collections.abc import Iterator
from typing import TextIO

from harness.isolation.process_state import SavedSettings, interpreter_settings, random_generators, torch_settings

DISABLE_VARIABLE = "HARNESS_DISABLE_PLUGINS"
MAX_PRINTED = 2000  # characters
SLOW = 4.0  # seconds of one import; more is reported afterwards
WAITING = 8.0  # seconds after which the user is told which package is being waited for


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """While this lasts, what plugin code prints goes to stderr: stdout may be somebody's JSON."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


@contextlib.contextmanager
def guard_plugin_code(package: str, *, ours: bool = False) -> Iterator[list[str]]:
    """While this lasts, code of that package is imported or registers; afterwards the list holds what it did that it
    should not have, one sentence each.

    Args:
        ours: it belongs to the harness itself, so that nobody would leave it out for being slow.
    """
    notes: list[str] = []
    out, error = _TruncatedStream(sys.stderr), _TruncatedStream(sys.stderr)
    before = SavedSettings([*interpreter_settings(), *random_generators(), *torch_settings()])
    threads, began = list[threading.Thread](), time.monotonic()
    leave_out = f"{DISABLE_VARIABLE}={package}"
    timer = threading.Timer(
        WAITING, _print, (sys.stderr, f"waiting for plugin package {package}; {leave_out} skips it")
    )
    timer.daemon = True
    if not ours:
        timer.start()
    try:
        with _daemons_only(threads), contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            yield notes
    except KeyboardInterrupt:
        _print(sys.stderr, f"interrupted in plugin package {package}; set {leave_out} to leave it out")
        raise
    finally:
        timer.cancel()
        seconds, printed = time.monotonic() - began, out.end() + error.end()
        if printed > MAX_PRINTED:
            notes.append(f"it printed {printed:,} characters, of which the first are shown; print nothing at import")
        if seconds > SLOW:
            notes.append(f"it took {seconds:.1f} s, which delays every command; move heavy imports into functions")
        notes += [f"it changed {what} for the whole process; this was undone" for what in before.put_back()]
        left = [thread.name for thread in threads if thread.is_alive()]
        if left:
            notes.append(f"it left the thread '{left[0]}' running, which ends with the command; start it when needed")


class _TruncatedStream(io.TextIOBase):
    """Lets the first characters through to another stream; once it has ended, all: loggers may have kept it."""

    def __init__(self, to: TextIO) -> None:
        self._to, self._count, self._ended = to, 0, False

    def write(self, text: str) -> int:
        room = len(text) if self._ended else max(0, MAX_PRINTED - self._count)
        self._count += len(text)
        self._to.write(text[:room])
        return len(text)

    def flush(self) -> None:
        self._to.flush()

    def close(self) -> None:
        """Do nothing: the stream that it writes to is shared."""

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self._to, "encoding", None) or "utf-8"

    def fileno(self) -> int:
        return self._to.fileno()

    def isatty(self) -> bool:
        return False

    def end(self) -> int:
        """Let everything through from now on; how many characters there were."""
        if self._count > MAX_PRINTED:
            self._to.write("\n")
        self._ended = True
        return self._count


def _print(stream: TextIO, text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        print(text, file=stream, flush=True)


@contextlib.contextmanager
def _daemons_only(started: list[threading.Thread]) -> Iterator[None]:
    """While this lasts, every thread that is started is one that ends with the process; others are listed."""
    original = threading.Thread.start

    def start(self: threading.Thread) -> None:
        if not self.daemon:
            self.daemon = True
            started.append(self)
        original(self)

    threading.Thread.start = start  # type: ignore[method-assign]
    try:
        yield
    finally:
        threading.Thread.start = original  # type: ignore[method-assign]
