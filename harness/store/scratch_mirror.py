"""A copy of a scratch folder in a remote store, so that another machine can go on with what this one has begun. What
fsspec has for copying folders copies once; this goes on for as long as the work does.
"""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType

from harness.errors import RunError
from harness.store.remote_files import RemoteFiles


class ScratchMirror:
    """Fetches the copy when it is entered; from then on sends files that have changed, every so many seconds.

    Files in a scratch folder are replaced whole or only grow, so that a copy made at any moment is good for something.
    """

    def __init__(self, files: RemoteFiles, path: str, folder: Path, seconds: float = 60.0) -> None:
        self._files, self._path, self._folder, self._seconds = files, path, folder, seconds
        self._sent: dict[str, tuple[int, int]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send_now_and_then, name="mirror", daemon=True)

    def __enter__(self) -> ScratchMirror:
        for name in self._files.below(self._path):
            local = self._folder / name
            if not local.exists():  # what lies here was made here, and is at least as new
                self._files.get(f"{self._path}/{name}", local)
                self._sent[name] = _version(local)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _send_now_and_then(self) -> None:
        while not self._ended.wait(self._seconds):
            try:
                self.send()
            except (RunError, OSError):
                continue  # a file that went away, or a network: the work itself goes on

    def send(self) -> None:
        """Send what has changed since it was last sent."""
        for path in sorted(self._folder.rglob("*")):
            name = path.relative_to(self._folder).as_posix()
            if not path.is_file() or path.name.startswith("."):  # half-written ones begin with a dot
                continue
            version = _version(path)
            if self._sent.get(name) != version:
                self._files.put(path, f"{self._path}/{name}")
                self._sent[name] = version


def _version(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size
