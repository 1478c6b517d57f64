"""The journal of an unfinished cell: one JSON line per round of steps, so that a kill loses at most the round in
flight. Packages for JSON lines neither repair a file that a kill has cut nor take back a line that a full disk has cut.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any

from harness.errors import DataError


class Journal:
    """Append-only lines. What a kill left of the last one is dropped when the journal is opened again.

    What an entry holds is the search's affair: see `harness.engine.search.search_round.Round`.

    Args:
        sent: given each line that has been written.

    Raises:
        DataError: a line is damaged, and whole ones stand behind it: no kill does that, and they would be lost.
    """

    def __init__(self, path: Path, sent: Callable[[bytes], object] = lambda _: None) -> None:
        self.path, self._sent = path, sent
        self.entries: list[dict[str, Any]] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = 0
        if path.exists():
            lines = path.read_bytes().splitlines(keepends=True)
            found = [_entry(line) for line in lines]
            for entry, line in zip(found, lines, strict=True):
                if entry is None:
                    break
                self.entries.append(entry)
                whole += len(line)
            if behind := sum(entry is not None for entry in found[len(self.entries) :]):
                raise DataError(
                    f"{path}: line {len(self.entries) + 1} is damaged, and what stands behind it ({behind} whole) "
                    "would be lost; restore the file, or delete it to start over"
                )
        self._file = path.open("ab", buffering=0)
        self._file.truncate(whole)
        self._file.seek(whole)

    def append(self, entry: dict[str, Any]) -> None:
        """Write one line and hand it to the operating system."""
        line = json.dumps(entry).encode() + b"\n"
        write_line(self._file, line)
        self.entries.append(entry)
        self._sent(line)

    def close(self) -> None:
        """Close the file; the journal stays."""
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _entry(line: bytes) -> dict[str, Any] | None:
    """What a line says; None where it was cut or damaged."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if line.endswith(b"\n") and isinstance(entry, dict) else None


def write_line(file: FileIO, line: bytes) -> None:
    """Add a line at the end of a file opened without a buffer: the whole of it, or nothing and an OSError."""
    start = file.tell()
    try:
        rest = memoryview(line)
        while rest:  # a disk that fills up takes a part, and names its trouble when asked to take the rest
            rest = rest[file.write(rest) :]
    except OSError:
        file.truncate(start)  # a full disk must not leave half a line in front of the next one
        raise
