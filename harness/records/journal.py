"""The journal of an unfinished cell: one JSON line per round of steps, so that a kill loses at most the round in
flight.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any

from harness.records.nulls import with_nulls, without_nulls


class Journal:
    """Append-only lines. A line cut short by a kill is dropped when the journal is opened again.

    Unknown compute is null in the file, as in the records, and NaN in `entries`.

    Args:
        sent: given each line that has been written.
    """

    def __init__(self, path: Path, sent: Callable[[bytes], object] = lambda _: None) -> None:
        self.path, self._sent = path, sent
        self.entries: list[dict[str, Any]] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = 0
        if path.exists():
            content = path.read_bytes()
            for line in content.splitlines(keepends=True):
                try:
                    entry = json.loads(line)
                except ValueError:
                    break
                if not line.endswith(b"\n") or not isinstance(entry, dict):
                    break
                self.entries.append(_each_row(entry, without_nulls))
                whole += len(line)
        self._file = path.open("ab", buffering=0)
        self._file.truncate(whole)
        self._file.seek(whole)

    def append(self, entry: dict[str, Any]) -> None:
        """Write one line and hand it to the operating system."""
        line = json.dumps(_each_row(entry, with_nulls)).encode() + b"\n"
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


def _each_row(entry: dict[str, Any], change: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    rows = entry.get("rows")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return entry  # no rows of steps: a damaged journal is the reader's to tell
    return entry | {"rows": [change(row) for row in rows]}
