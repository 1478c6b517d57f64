"""What the keeper of a board has found about a file, kept in a folder of theirs: a page believes these, and no word of
a submitter.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from harness.errors import DataError
from harness.records.cell_manifest import CellRecord
from harness.store.atomic import write_file
from leaderboard.data.evidence import Evidence
from leaderboard.data.record_facts import defense_round
from leaderboard.submission.file_format.errors import RefusedError
from leaderboard.submission.file_format.limits import FORMAT, MAX_ENTRY_BYTES
from leaderboard.submission.file_format.manifest import Sha256, read_as
from leaderboard.submission.file_format.strict_json import load_json
from leaderboard.submission.pack import readable_json

RowKey = tuple[str, str, str, str, str, int]
SUFFIX = ".json"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class RowReplay(_Strict):
    """A row of the standings, and how many of its strings and cells were asked again."""

    space: str
    task: str
    threat: str
    victim: str
    defense: str
    round: int
    strings: Annotated[int, Field(ge=0)]
    recorded: Annotated[int, Field(ge=0)]
    cells: Annotated[int, Field(ge=0)]
    recorded_cells: Annotated[int, Field(ge=0)]

    @property
    def key(self) -> RowKey:
        """Names the row."""
        return self.space, self.task, self.threat, self.victim, self.defense, self.round


class Replay(_Strict):
    """A replay in which everything was as recorded."""

    per_row: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0)]
    rows: list[RowReplay]


class VerificationRecord(_Strict):
    """A verification that a file has passed.

    Attributes:
        file: hash of what was read, which has that of all the rest: of the JSON of an entry, or of a submission.
        spec: whose it was held against: one that comes with the project, one that the keeper gave, or the submitter's.
        notes: what could not be told.
        replay: None where no victim was asked.
    """

    format: int = FORMAT
    what: Literal["robustness-harness verification"] = "robustness-harness verification"
    file: Sha256
    harness_version: str
    spec: Literal["shipped", "given", "own"]
    spec_hash: Sha256
    notes: list[str]
    replay: Replay | None

    def evidence(self, record: CellRecord) -> Evidence:
        """What is known of a cell of the file."""
        found = [f"Verified with robustness-harness {self.harness_version}, compared with {_SPECS[self.spec]}."]
        if self.replay is None:
            return Evidence(verified=True, found=(*found, *self.notes))
        found.append(f"Replayed: {self.replay.per_row} strings of each row, drawn with seed {self.replay.seed}.")
        row = next((row for row in self.replay.rows if row.key == row_key(record)), None)
        if row is None or not row.cells:
            return Evidence(verified=True, found=(*found, *self.notes))
        return Evidence(True, True, row.strings, row.recorded, (*found, *self.notes))


_SPECS = {
    "shipped": "the spec that comes with the project",
    "given": "a spec of the leaderboard's maintainer",
    "own": "the submitter's own spec",
}


def row_key(record: CellRecord) -> RowKey:
    """The row of the standings that a cell stands in."""
    labels = record.space, record.task.label, record.threat_label, record.victim.label, record.defense.label
    return *labels, defense_round(record)


def write_verification(record: VerificationRecord, folder: Path) -> Path:
    """Write what was found about a file into the keeper's folder, named by the file's hash; the path.

    Raises:
        DataError: the folder cannot be written.
    """
    replay = "files" if record.replay is None else f"replay-{record.replay.per_row}-{record.replay.seed}"
    path = folder / f"{record.file}.{replay}{SUFFIX}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_file(path, partial(_write_bytes, readable_json(record.model_dump(mode="json"))))
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror or error}). Give another --verified.") from None
    return path


def read_verifications(folder: Path | None) -> Mapping[str, VerificationRecord]:
    """Of each file, by its hash, the verification that asked most.

    Raises:
        DataError: there is no such folder, or a file in it is none of these.
    """
    if folder is None:
        return {}
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder. Give the one that `verify --verified` wrote to.")
    found: dict[str, VerificationRecord] = {}
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        if path.stat().st_size > MAX_ENTRY_BYTES:
            raise RefusedError(f"{path}: more than {MAX_ENTRY_BYTES:,} bytes")
        record = read_as(VerificationRecord, load_json(path.read_bytes(), str(path)), str(path))
        known = found.setdefault(record.file, record)
        if (record.replay.per_row if record.replay else 0) > (known.replay.per_row if known.replay else 0):
            found[record.file] = record
    return found


def _write_bytes(content: bytes, path: Path) -> None:
    path.write_bytes(content)
