"""What a submission says of itself, as pydantic models that take nothing else."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from harness.errors import DataError
from harness.records import VERSION
from harness.records.cell_manifest import CellRecord
from harness.records.visible_text import SPEC_NAME
from leaderboard.submission.file_format.errors import RefusedError, escaped
from leaderboard.submission.file_format.limits import FORMAT, MAX_CELLS, MAX_ROWS, MAX_STEPS

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=SPEC_NAME, max_length=100)]  # it names a file later: see `file_name`
VERSION_PATTERN = (
    r"^[A-Za-z0-9][A-Za-z0-9._+!-]{0,59}$"  # of a release of the harness or a library: no room for remarks
)
# What submitters say of themselves: letters of any script, figures and marks of a citation, in one line.
Claim = Annotated[str, Field(pattern=r"^[\w .,:;'’()&/+-]*$", max_length=300)]
Link = Annotated[str, Field(pattern=r"^(https://[A-Za-z0-9.-]+(/[A-Za-z0-9._~/%?=&+-]*)?)?$", max_length=300)]
# An https address or the path of a file in the board's repository, and the day.
Registered = Annotated[
    str,
    Field(
        pattern=r"^((https://[A-Za-z0-9.-]+(/[A-Za-z0-9._~/%?=&+-]*)?|[A-Za-z0-9_][A-Za-z0-9._/-]*) "
        r"[0-9]{4}-[0-9]{2}-[0-9]{2})?$",
        max_length=300,
    ),
]
_Model = TypeVar("_Model", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class RunInfo(_Strict):
    """Of ``run.json``, all but the spec's text and its list of cells.

    Attributes:
        plain_folders: names in the spec that were folders where it was run, and read as hub ids elsewhere.
        by, paper, link: who submits, and where to read more, as they say themselves; "" where they do not.
        tries: how many runs of the spec they made, this one included, as they say; None where they do not.
        registered: where they say that the spec's hash was registered beforehand, and when; "" where they do not.
    """

    format: int
    spec_name: Name
    spec_version: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=40)]
    spec_hash: Sha256
    cells: Annotated[int, Field(ge=1, le=MAX_CELLS)]
    harness_version: Annotated[str, Field(pattern=VERSION_PATTERN)]
    created: Annotated[
        str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{5,15}(Z|[+-][0-9:]{2,6})?$")
    ]  # ISO 8601
    plain_folders: Annotated[list[Annotated[str, Field(max_length=4_096)]], Field(max_length=1_000)] = []
    by: Claim = ""
    paper: Claim = ""
    link: Link = ""
    tries: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    registered: Registered = ""


class FileDigest(_Strict):
    """Size and hash of a member, or of the table of an entry."""

    bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256


class Manifest(_Strict):
    """``manifest.json`` of a submission."""

    format: int
    what: Literal["robustness-harness submission"]
    run: RunInfo
    rows: Annotated[int, Field(ge=0, le=MAX_ROWS)]
    parts: dict[str, FileDigest]  # by name, the manifest excepted


class EntryManifest(_Strict):
    """The JSON file of an entry. Its table lies next to it, under the same name with another ending."""

    format: int
    what: Literal["robustness-harness entry"]
    submission: Sha256  # of the file that it was made of
    run: RunInfo
    rows: Annotated[int, Field(ge=0, le=MAX_ROWS)]
    table: FileDigest
    spec: Annotated[list[str], Field(max_length=20_000)]  # line by line
    cells: list[dict[str, Any]]


class ClaimedExample(_Strict):
    """What is claimed of one example: how many strings were tried on it, and what finding them took.

    Attributes:
        strings: the first so many steps of its search.
        flops: FLOPs that were spent on it, as the claimant says; None where unknown.
    """

    strings: Annotated[int, Field(ge=1, le=MAX_STEPS)]
    flops: Annotated[float, Field(ge=0, le=1e40, allow_inf_nan=False)] | None = None


Label = Annotated[str, Field(max_length=2_000)]


class ClaimInfo(_Strict):
    """What a claim is made against: one row of one entry.

    Attributes:
        entry: name of the entry's files, without ending.
        entry_spec: hash of the entry's spec.
        round: of the defense; None without rounds.
        sha256: hash of the strings.
        examples: by name.
    """

    entry: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$")]
    entry_spec: Sha256
    task: Label
    threat: Label
    victim: Label
    defense: Label
    round: Annotated[int, Field(ge=0)] | None = None
    sha256: Sha256
    examples: Annotated[dict[Annotated[str, Field(max_length=2_000)], ClaimedExample], Field(min_length=1)]

    @property
    def steps(self) -> int:
        """Most strings of any example: the steps of the attack."""
        return max(example.strings for example in self.examples.values())


class ClaimManifest(EntryManifest):
    """The JSON file of a claim against a row of an entry. Its table lies beside it, as that of an entry does."""

    what: Literal["robustness-harness claim"]  # type: ignore[assignment]
    claim: ClaimInfo


def check_registered(text: str) -> None:
    """Raises DataError where what is said of a registered spec does not say where and when."""
    try:
        TypeAdapter(Registered).validate_python(text)
    except ValidationError:
        raise DataError(
            f"--registered {text!a:.100}: write WHERE DATE: an https address or a file of the leaderboard's "
            "repository, a space, and a date, such as 'registered/quickstart.txt 2026-01-31'."
        ) from None


def file_digest(content: bytes) -> FileDigest:
    """Of a file with this content."""
    return FileDigest(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def read_as(model: type[_Model], data: Any, source: str) -> _Model:
    """JSON data as one of the models.

    Raises:
        RefusedError: of another format version, or not of the model; says ``source`` and which field.
    """
    if isinstance(data, dict) and data.get("format") != FORMAT:
        raise RefusedError(
            f"{source}: format {escaped(data.get('format'))}, this version reads format {FORMAT}. "
            "Use the version of the harness that wrote it."
        )
    manifest = _validated(model, data, source)
    run = getattr(manifest, "run", None)
    if run is not None and run.format != VERSION:
        raise RefusedError(f"{source}: records of format {run.format}, this version reads format {VERSION}")
    return manifest


def read_records(data: Any, source: str) -> tuple[CellRecord, ...]:
    """The manifests of cells. Raises RefusedError with the number of the cell and the field."""
    if not isinstance(data, list):
        raise RefusedError(f"{source}: holds {type(data).__name__}, not a list of cells")
    if len(data) > MAX_CELLS:
        raise RefusedError(f"{source}: {len(data):,} cells, more than {MAX_CELLS:,}")
    records = []
    for index, cell in enumerate(data):
        if not isinstance(cell, dict) or cell.get("format") != VERSION or isinstance(cell.get("format"), bool):
            raise RefusedError(f"{source}: cell {index}: not a record of format {VERSION}")
        records.append(_validated(CellRecord, cell, f"{source}: cell {index}"))
    return tuple(records)


def _validated(model: type[_Model], data: Any, source: str) -> _Model:
    try:
        # Types as JSON has them: no text for a number, no 1 for true.
        return TypeAdapter(model).validate_python(data, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(escaped(part, 40).strip("'") for part in first["loc"]) or "the whole file"
        raise RefusedError(f"{source}: {field}: {escaped(first['msg'], 160).strip(chr(39))}") from None
