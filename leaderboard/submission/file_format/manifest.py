"""What a submission says of itself, as pydantic models that take nothing else."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from harness.records.cell import CellRecord
from harness.records.schema import VERSION
from leaderboard.submission.file_format.errors import RefusedError, shown
from leaderboard.submission.file_format.limits import CELLS, FORMAT, ROWS

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=100)]  # as in a spec: it names a file later
Words = Annotated[str, Field(max_length=200)]
_Of = TypeVar("_Of", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class RunInfo(_Strict):
    """Of ``run.json``, all but the spec's text."""

    format: int
    spec_name: Name
    spec_version: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=40)]
    spec_hash: Sha256
    cells: Annotated[int, Field(ge=1, le=CELLS)]
    harness_version: Words
    created: Words


class ManifestPart(_Strict):
    """A member of the file."""

    bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256


class Manifest(_Strict):
    """``manifest.json`` of a submission."""

    format: int
    what: Literal["robustness-harness submission"]
    run: RunInfo
    rows: Annotated[int, Field(ge=0, le=ROWS)]
    parts: dict[str, ManifestPart]  # by name, the manifest excepted


class ManifestEntry(_Strict):
    """The JSON file of an entry. Its table lies beside it, under the same name with another ending."""

    format: int
    what: Literal["robustness-harness entry"]
    submission: Sha256  # of the file that it was made of
    run: RunInfo
    rows: Annotated[int, Field(ge=0, le=ROWS)]
    table: ManifestPart
    spec: Annotated[list[str], Field(max_length=20_000)]  # line by line
    cells: list[dict[str, Any]]


def read_as(model: type[_Of], data: Any, where: str) -> _Of:
    """JSON data as one of the models.

    Raises:
        RefusedError: of another format version, or not of the model; says ``where`` and which field.
    """
    if isinstance(data, dict) and data.get("format") != FORMAT:
        raise RefusedError(
            f"{where}: format {shown(data.get('format'))}, this version reads format {FORMAT}. "
            "Use the version of the harness that wrote it."
        )
    found = _validated(model, data, where)
    run = getattr(found, "run", None)
    if run is not None and run.format != VERSION:
        raise RefusedError(f"{where}: records of format {run.format}, this version reads format {VERSION}")
    return found


def read_records(data: Any, where: str) -> tuple[CellRecord, ...]:
    """The manifests of cells. Raises RefusedError with the number of the cell and the field."""
    if not isinstance(data, list):
        raise RefusedError(f"{where}: holds {type(data).__name__}, not a list of cells")
    if len(data) > CELLS:
        raise RefusedError(f"{where}: {len(data):,} cells, more than {CELLS:,}")
    found = []
    for at, each in enumerate(data):
        if not isinstance(each, dict) or each.get("format") != VERSION or isinstance(each.get("format"), bool):
            raise RefusedError(f"{where}: cell {at}: is no record of format {VERSION}")
        found.append(_validated(CellRecord, each, f"{where}: cell {at}"))
    return tuple(found)


def _validated(model: type[_Of], data: Any, where: str) -> _Of:
    try:
        # Types as JSON has them: no text for a number, no 1 for true.
        return TypeAdapter(model).validate_python(data, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(shown(part, 40).strip("'") for part in first["loc"]) or "the whole file"
        raise RefusedError(f"{where}: {field}: {shown(first['msg'], 160).strip(chr(39))}") from None
