"""A lock for places without locks: a folder of claims, of which the one that stands alone holds."""

from __future__ import annotations

import secrets
import threading
import time
from types import TracebackType

from harness.errors import RunError
from harness.store.remote_files import RemoteFiles


class Lease:
    """Who may make an artifact: one claims with a file of its own, then looks, and holds when it sees no other claim.

    Of two that claim at once at most one sees no other, however slow either is, where a file that has been written is
    listed from then on (S3, GCS, Azure and file systems do). The least of those that stand stays, the others withdraw.

    No clock is compared with another's: a claim is taken for dead when its file has not changed for ``patience``
    seconds of the one that waits. A holder that was only away so long makes what another makes too, and the store
    keeps the last.

    Args:
        path: a folder for the claims.
        beat: seconds between two changes of a claim, as signs of life.
    """

    def __init__(self, files: RemoteFiles, path: str, beat: float = 15.0, patience: float = 90.0) -> None:
        self._files, self._folder, self._beat, self._patience = files, path, beat, patience
        self._own = secrets.token_hex(8)
        self._seen: dict[str, tuple[bytes, float]] = {}  # of other claims: what they said, and since when
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self) -> bool:
        """Try once; whether it is held now."""
        others = self._others()
        if self._thread is None:
            if others:
                return False
            self._claim()
            others = self._others()
        if others and min(others) < self._own:
            self._withdraw()
        return not others

    def _others(self) -> list[str]:
        """The names of other claims whose makers live."""
        alive = []
        for name in self._files.below(self._folder):
            if name == self._own:
                continue
            said, now = self._files.read(f"{self._folder}/{name}"), time.monotonic()
            if said is None:
                continue
            if name not in self._seen or self._seen[name][0] != said:
                self._seen[name] = (said, now)
            if now - self._seen[name][1] < self._patience:
                alive.append(name)
            else:
                self._files.remove(f"{self._folder}/{name}")
        return alive

    def _claim(self) -> None:
        self._write(0)
        self._ended.clear()
        self._thread = threading.Thread(target=self._live, name="lease", daemon=True)
        self._thread.start()

    def _write(self, beats: int) -> None:
        self._files.write(f"{self._folder}/{self._own}", str(beats).encode())

    def _live(self) -> None:
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
            self._files.remove(f"{self._folder}/{self._own}")

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._withdraw()
