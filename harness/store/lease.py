"""A lock for stores without locks: whoever's claim stands alone in a folder holds it. Locks of libraries need a file
system with locks, or a service next to the store.
"""

from __future__ import annotations

import secrets
import threading
import time
from types import TracebackType

from harness.errors import RunError
from harness.store.remote_files import RemoteFiles


class Lease:
    """The right to make an artifact. One claims it with a file of its own, then looks, and has it when it sees no other
    claim.

    Of two that claim at once at most one sees no other, however slow either is, where a file that has been written is
    listed from then on (S3, GCS, Azure and file systems do). The least of those that stand stays, the others withdraw.

    No clock is compared with another's: a claim is taken for dead when its file has not changed for ``patience``
    seconds of the one that waits. A holder that was only away so long makes what another makes too, and the store
    keeps the last.

    Args:
        path: a folder for the claims.
        beat: seconds between two changes of a claim, its heartbeat.
        patience: seconds without a heartbeat after which a claim counts as dead.
    """

    def __init__(self, files: RemoteFiles, path: str, beat: float = 15.0, patience: float = 90.0) -> None:
        self._files, self._folder, self._beat, self._patience = files, path, beat, patience
        self._name = secrets.token_hex(8)
        self._seen: dict[str, tuple[bytes, float]] = {}  # of other claims: their last heartbeat, and when it was seen
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def try_acquire(self) -> bool:
        """Try once, without waiting; whether it is held now."""
        others = self._others()
        if self._thread is None:
            if others:
                return False
            self._claim()
            others = self._others()
        if others and min(others) < self._name:
            self._withdraw()
        return not others

    def _others(self) -> list[str]:
        """The names of other claims that are alive."""
        alive = []
        for name in self._files.below(self._folder):
            if name == self._name:
                continue
            beat, now = self._files.read(f"{self._folder}/{name}"), time.monotonic()
            if beat is None:
                continue
            if name not in self._seen or self._seen[name][0] != beat:
                self._seen[name] = (beat, now)
            if now - self._seen[name][1] < self._patience:
                alive.append(name)
            else:
                self._files.remove(f"{self._folder}/{name}")
        return alive

    def _claim(self) -> None:
        self._write(0)
        self._ended.clear()
        self._thread = threading.Thread(target=self._keep_alive, name="lease", daemon=True)
        self._thread.start()

    def _write(self, beats: int) -> None:
        self._files.write(f"{self._folder}/{self._name}", str(beats).encode())

    def _keep_alive(self) -> None:
        beats = 0
        while not self._ended.wait(self._beat):
            beats += 1
            try:
                self._write(beats)
            except RunError:
                continue  # the next beat may come through; if none does, somebody else makes it too

    def _withdraw(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self._files.remove(f"{self._folder}/{self._name}")

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._withdraw()
