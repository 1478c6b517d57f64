"""A lock for places without locks: a file that says who holds it, and changes as long as that one lives."""

from __future__ import annotations

import secrets
import threading
import time
from types import TracebackType

from harness.errors import RunError
from harness.store.files import RemoteFiles


class Lease:
    """Who may make an artifact. No clock is compared with another's: a holder is taken for dead when its file has not
    changed for ``patience`` seconds of the one that waits.

    Two that begin within the same instant may both hold it for a moment; what they make is then made twice, and the
    store keeps the last.
    """

    def __init__(self, files: RemoteFiles, path: str, beat: float = 15.0, patience: float = 90.0) -> None:
        self._files, self._path, self._beat, self._patience = files, path, beat, patience
        self._own = secrets.token_hex(8)
        self._seen: bytes | None = None
        self._since = 0.0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self) -> bool:
        """Try once; whether it is held now."""
        there = self._files.read(self._path)
        if there is not None and there != self._seen:
            self._seen, self._since = there, time.monotonic()
        if there is not None and time.monotonic() - self._since < self._patience:
            return False
        self._write(0)
        time.sleep(min(0.5, self._beat / 4))  # whoever wrote at the same time has written by then
        if not (self._files.read(self._path) or b"").startswith(self._own.encode()):
            return False
        self._thread = threading.Thread(target=self._live, name="lease", daemon=True)
        self._thread.start()
        return True

    def _write(self, beats: int) -> None:
        self._files.write(self._path, f"{self._own} {beats}".encode())

    def _live(self) -> None:
        beats = 0
        while not self._ended.wait(self._beat):
            beats += 1
            try:
                self._write(beats)
            except RunError:
                continue  # the next beat may come through; if none does, somebody else makes it too

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._files.remove(self._path)
