"""A submission that has been opened: from the file that `pack` writes, or from an entry of a leaderboard."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from harness.records.cell import CellRecord
from leaderboard.submission.file_format.container import (
    CELLS,
    MANIFEST,
    SPEC,
    TABLE,
    Member,
    file_hash,
    read_container,
    read_member,
)
from leaderboard.submission.file_format.errors import RefusedError
from leaderboard.submission.file_format.limits import ENTRY_BYTES, FILE_BYTES, SPEC_BYTES
from leaderboard.submission.file_format.manifest import (
    Manifest,
    ManifestEntry,
    ManifestPart,
    RunInfo,
    read_as,
    read_records,
)
from leaderboard.submission.file_format.strict_json import load_json
from leaderboard.submission.file_format.table_file import TableFile

ENTRY_ENDING, TABLE_ENDING = ".json", ".parquet"


@dataclass(frozen=True)
class Submission:
    """What a submission holds; its table is read from disk when asked for.

    Attributes:
        path: of the file, or of the JSON of an entry.
        sha256: of the submission; an entry names that of the file it was made of.
        hash: of everything that was read: of the file; of an entry, of its JSON, which has the hash of its table.
        run: what ``run.json`` said.
        spec: its text.
        cells: manifests in the order of the table's rows.
    """

    path: Path
    sha256: str
    hash: str
    run: RunInfo
    spec: str
    cells: tuple[CellRecord, ...]
    table: TableFile
    rows: int


def open_submission(path: Path) -> Submission:
    """The submission in a file, or the entry in a JSON file with its table beside it; all hashes checked.

    Raises:
        RefusedError: it cannot be taken as one; the first reason found.
    """
    return _entry(path) if path.suffix == ENTRY_ENDING else _file(path)


def _file(path: Path) -> Submission:
    members = read_container(path)
    manifest = read_as(Manifest, _json(path, members[MANIFEST]), f"{path}: {MANIFEST}")
    if manifest.parts.keys() != members.keys() - {MANIFEST}:
        raise RefusedError(f"{path}: {MANIFEST}: parts: names other members than the file has")
    for name, part in manifest.parts.items():
        _check_part(part, members[name].size, members[name].sha256, f"{path}: {name}")
    records = read_records(_json(path, members[CELLS]), f"{path}: {CELLS}")
    spec = _text(read_member(path, members[SPEC]), f"{path}: {SPEC}")
    place = members[TABLE]
    table = TableFile(_mapped(path, place.offset, place.size), f"{path}: {TABLE}")
    whole = file_hash(path)
    return _consistent(Submission(path, whole, whole, manifest.run, spec, records, table, manifest.rows))


def _entry(path: Path) -> Submission:
    raw = _bounded(path, ENTRY_BYTES)
    entry = read_as(ManifestEntry, load_json(raw, str(path)), str(path))
    spec = "\n".join(entry.spec)
    if len(spec.encode()) > SPEC_BYTES:
        raise RefusedError(f"{path}: spec: more than {SPEC_BYTES:,} bytes")
    beside = path.with_suffix(TABLE_ENDING)
    if not beside.is_file():
        raise RefusedError(f"{beside}: missing; it is the table of the entry {path.name}")
    size = beside.stat().st_size
    if size > FILE_BYTES:
        raise RefusedError(f"{beside}: {size:,} bytes, more than {FILE_BYTES:,}")
    _check_part(entry.table, size, file_hash(beside), str(beside))
    records = read_records(entry.cells, f"{path}: cells")
    table = TableFile(_mapped(beside, 0, size), str(beside))
    own = file_hash(path)
    return _consistent(Submission(path, entry.submission, own, entry.run, spec, records, table, entry.rows))


def _consistent(found: Submission) -> Submission:
    """Check that the parts fit each other."""
    keys = [record.key for record in found.cells]
    if len(set(keys)) != len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise RefusedError(f"{found.path}: cell {twice!a} is there twice")
    if len(keys) != found.run.cells:
        raise RefusedError(f"{found.path}: {len(keys)} cells, and its manifest says {found.run.cells}")
    if sum(found.table.rows) != found.rows:
        raise RefusedError(f"{found.path}: {sum(found.table.rows)} rows, and its manifest says {found.rows}")
    return found


def _check_part(part: ManifestPart, size: int, sha256: str, where: str) -> None:
    if (part.bytes, part.sha256) != (size, sha256):
        raise RefusedError(f"{where}: is not what the manifest says: its size or sha256 is another")


def _json(path: Path, member: Member) -> object:
    return load_json(read_member(path, member), f"{path}: {member.name}")


def _text(raw: bytes, where: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RefusedError(f"{where}: is not UTF-8 text (byte {error.start})") from None


def _bounded(path: Path, most: int) -> bytes:
    try:
        if not path.is_file():
            raise RefusedError(f"{path}: no such file. Give what `harness leaderboard pack` or `add` wrote.")
        with path.open("rb") as file:
            raw = file.read(most + 1)
    except OSError as error:
        raise RefusedError(f"{path}: cannot be read ({error.strerror or error})") from None
    if len(raw) > most:
        raise RefusedError(f"{path}: more than {most:,} bytes")
    return raw


def _mapped(path: Path, offset: int, size: int) -> pa.Buffer:
    """A part of a file, mapped: it takes no memory of its own."""
    if not size:
        raise RefusedError(f"{path}: its table is empty")
    with pa.memory_map(str(path)) as file:
        file.seek(offset)
        return file.read_buffer(size)
