"""A submission that has been opened: from the file that `pack` writes, or from an entry of a leaderboard."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from harness.records.cell_manifest import CellRecord
from leaderboard.submission.file_format.container import (
    CELLS,
    MANIFEST,
    RECORDS,
    SPEC,
    Member,
    file_sha256,
    read_container,
    read_member,
)
from leaderboard.submission.file_format.errors import RefusedError
from leaderboard.submission.file_format.limits import MAX_ENTRY_BYTES, MAX_FILE_BYTES, MAX_SPEC_BYTES
from leaderboard.submission.file_format.manifest import (
    ClaimInfo,
    ClaimManifest,
    EntryManifest,
    FileDigest,
    Manifest,
    RunInfo,
    read_as,
    read_records,
)
from leaderboard.submission.file_format.records_file import RecordsFile
from leaderboard.submission.file_format.strict_json import first_repeated, load_json, utf8_text
from leaderboard.table_numbers import counted

ENTRY_SUFFIX, ENTRY_RECORDS_SUFFIX = ".json", ".parquet"
CLAIM = "robustness-harness claim"


@dataclass(frozen=True)
class Submission:
    """What a submission holds; its records are read from disk when asked for.

    Attributes:
        path: of the file, or of the JSON of an entry.
        sha256: of the submission; an entry names that of the file it was made of.
        read_sha256: of everything that was read: of the file; of an entry, of its JSON, which has the hash of its
            records.
        run: what ``run.json`` said.
        spec: its text.
        cells: manifests in the order of the rows.
        records: the rows of all cells.
        rows: how many they are.
        claim: the row of an entry that it is made against; None for entries and submissions.
    """

    path: Path
    sha256: str
    read_sha256: str
    run: RunInfo
    spec: str
    cells: tuple[CellRecord, ...]
    records: RecordsFile
    rows: int
    claim: ClaimInfo | None = None


def open_submission(path: Path) -> Submission:
    """The submission in a file, or the entry in a JSON file with its records next to it; all hashes checked.

    Raises:
        RefusedError: it cannot be taken as one; the first reason found.
    """
    submission = _open_entry(path) if path.suffix == ENTRY_SUFFIX else _open_file(path)
    _check_consistent(submission)
    return submission


def _open_file(path: Path) -> Submission:
    members = read_container(path)
    manifest = read_as(Manifest, _load_member(path, members[MANIFEST]), f"{path}: {MANIFEST}")
    if manifest.parts.keys() != members.keys() - {MANIFEST}:
        raise RefusedError(f"{path}: {MANIFEST}: parts: names other members than the file has")
    for name, digest in manifest.parts.items():
        _check_digest(digest, members[name].size, members[name].sha256, f"{path}: {name}")
    cells = read_records(_load_member(path, members[CELLS]), f"{path}: {CELLS}")
    spec = utf8_text(read_member(path, members[SPEC]), f"{path}: {SPEC}")
    member = members[RECORDS]
    records = RecordsFile(_mapped(path, member.offset, member.size), f"{path}: {RECORDS}")
    sha256 = file_sha256(path)
    return Submission(path, sha256, sha256, manifest.run, spec, cells, records, manifest.rows)


def _open_entry(path: Path) -> Submission:
    raw = _read_bounded(path, MAX_ENTRY_BYTES)
    data = load_json(raw, str(path))
    is_claim = isinstance(data, dict) and data.get("what") == CLAIM
    entry = read_as(ClaimManifest if is_claim else EntryManifest, data, str(path))
    spec = "\n".join(entry.spec)
    if len(spec.encode()) > MAX_SPEC_BYTES:
        raise RefusedError(f"{path}: spec: more than {MAX_SPEC_BYTES:,} bytes")
    records_path = path.with_suffix(ENTRY_RECORDS_SUFFIX)
    if not records_path.is_file():
        raise RefusedError(f"{records_path}: missing; it is the table of the entry {path.name}")
    size = records_path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise RefusedError(f"{records_path}: {size:,} bytes, more than {MAX_FILE_BYTES:,}")
    _check_digest(entry.table, size, file_sha256(records_path), str(records_path))
    cells = read_records(entry.cells, f"{path}: cells")
    records = RecordsFile(_mapped(records_path, 0, size), str(records_path))
    claim = entry.claim if isinstance(entry, ClaimManifest) else None
    return Submission(path, entry.submission, file_sha256(path), entry.run, spec, cells, records, entry.rows, claim)


def _check_consistent(submission: Submission) -> None:
    """Whether manifests, cells and rows fit each other."""
    path, keys = submission.path, [record.key for record in submission.cells]
    repeated = first_repeated(keys)
    if repeated is not None:
        raise RefusedError(f"{path}: cell {repeated!a} appears twice")
    if len(keys) != submission.run.cells:
        raise RefusedError(f"{path}: {counted(len(keys), 'cell')}, and its manifest says {submission.run.cells}")
    rows = sum(submission.records.rows)
    if rows != submission.rows:
        raise RefusedError(f"{path}: {counted(rows, 'row')}, and its manifest says {submission.rows}")


def _check_digest(digest: FileDigest, size: int, sha256: str, source: str) -> None:
    if (digest.bytes, digest.sha256) != (size, sha256):
        raise RefusedError(f"{source}: not what the manifest says: its size or sha256 differs")


def _load_member(path: Path, member: Member) -> object:
    return load_json(read_member(path, member), f"{path}: {member.name}")


def _read_bounded(path: Path, limit: int) -> bytes:
    try:
        if not path.is_file():
            raise RefusedError(f"{path}: no such file. Give what `harness leaderboard pack` or `add` wrote.")
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except OSError as error:
        raise RefusedError(f"{path}: cannot be read ({error.strerror or error})") from None
    if len(raw) > limit:
        raise RefusedError(f"{path}: more than {limit:,} bytes")
    return raw


def _mapped(path: Path, offset: int, size: int) -> pa.Buffer:
    """A part of a file, mapped: it takes no memory of its own."""
    if not size:
        raise RefusedError(f"{path}: its table is empty")
    with pa.memory_map(str(path)) as file:
        file.seek(offset)
        return file.read_buffer(size)
