"""What is printed in a worker goes to a file next to the run, of which the end is kept when it grows too long.

By file descriptor, since native libraries and child processes print too: the rotating handlers of `logging` see only
what is logged in Python.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
import threading
from pathlib import Path

MAX_BYTES = 4 << 20
WATCH_SECONDS = 0.1  # seconds between two looks at the file's size


class CapturedOutput:
    """A file for stdout and stderr of this process and of its children."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Appending, whoever writes where: the file can be cut while it is being written to.
        self._file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o644)
        self._streams: tuple[int, ...] = ()
        self._cutting = threading.Lock()

    def redirect(self) -> None:
        """From now on all that this process prints goes there."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # whatever the terminal's encoding is, the file takes all
                stream.reconfigure(encoding="utf-8", errors="backslashreplace")
        self._streams = (1, 2)
        self._redirect_to(self._file)
        threading.Thread(target=self._watch, name="output", daemon=True).start()

    def flush(self) -> None:
        """Return when all that was printed so far is in the file: from then on this process may be killed."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):  # whatever a plugin has put there
                stream.flush()
        self.truncate()  # so that the other thread does not begin to

    def _redirect_to(self, file: int) -> None:
        for stream in self._streams:
            os.dup2(file, stream)

    def _watch(self) -> None:
        ended = threading.Event()
        while not ended.wait(WATCH_SECONDS):
            self.truncate()

    def truncate(self) -> None:
        """Keep the last quarter of `MAX_BYTES` where the file is longer than that.

        What this process prints meanwhile goes to another file and then behind it, so that it is not cut off unread;
        what it was just printing, or a child prints, may be.
        """
        with self._cutting, contextlib.suppress(OSError):  # a full disk: the next look may find it otherwise
            if os.fstat(self._file).st_size <= MAX_BYTES:
                return
            with tempfile.TemporaryFile(buffering=0) as aside:
                self._redirect_to(aside.fileno())
                try:
                    self._cut()
                finally:
                    self._redirect_to(self._file)
                aside.seek(0)
                self._write(aside.read())

    def _cut(self) -> None:
        size = os.fstat(self._file).st_size
        end = os.pread(self._file, MAX_BYTES // 4, size - MAX_BYTES // 4)
        os.ftruncate(self._file, 0)
        self._write(f"[{size - len(end):,} bytes were printed here and not kept]\n".encode() + end)

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._file, data) :]


def finish_log(path: Path) -> None:
    """Truncate the file of a worker that has ended, and end its last line, which may have been cut off; remove it, and
    its folder, where nothing was printed.
    """
    with contextlib.suppress(OSError):
        if path.stat().st_size:
            CapturedOutput(path).truncate()
            with path.open("rb+") as file:
                file.seek(-1, os.SEEK_END)
                if file.read() != b"\n":
                    file.write(b"\n")
        else:
            path.unlink()
            path.parent.rmdir()


def last_line(path: Path, since: int) -> str:
    """The last line printed after the first ``since`` bytes, or ""."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            file.seek(max(since if since <= size else 0, size - 4096))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")
