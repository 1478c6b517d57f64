"""What workers elsewhere send of a cell, written to the run directory of the driver."""

from __future__ import annotations

from pathlib import Path

from harness.records.journal import write_line
from harness.run.run_folder import JOURNAL, RunFolder
from harness.store.atomic import write_file

MANIFEST = "cell.json"


def read_journal(folder: RunFolder, key: str) -> bytes:
    """What has been done of a cell so far; a line cut short by a kill is left out."""
    try:
        content = (folder.cell(key) / JOURNAL).read_bytes()
    except FileNotFoundError:
        return b""
    return content[: content.rfind(b"\n") + 1]


def append_journal(folder: RunFolder, key: str, line: bytes) -> None:
    """Add the line of a round to a cell's journal."""
    path = folder.cell(key) / JOURNAL
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:
        write_line(file, line)


def write_journal(folder: RunFolder, key: str, journal: bytes) -> None:
    """Let the journal be exactly this, so that lines can be added to it."""
    path = folder.cell(key) / JOURNAL
    if journal or path.exists():
        write_file(path, lambda temporary: _write_bytes(temporary, journal))


def write_files(folder: RunFolder, key: str, files: dict[str, bytes]) -> None:
    """Put the files of a cell in place, its manifest last; the journal of one that is done is not needed any more."""
    for name in sorted(files, key=lambda name: name == MANIFEST):
        write_file(folder.cell(key) / name, lambda temporary, name=name: _write_bytes(temporary, files[name]))  # type: ignore[misc]
    if folder.is_settled(key):
        (folder.cell(key) / JOURNAL).unlink(missing_ok=True)
        (folder.cell(key) / "error.txt").unlink(missing_ok=True)


def _write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)
