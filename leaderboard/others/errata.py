"""Errata: what the maintainer of a board has found wrong with an entry, a claim or a spec, and what follows."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.errors import DataError, first_line

MAX_BYTES = 2**20
Follows = Literal["note", "withdrawn"]
_Text = Annotated[str, Field(min_length=1, max_length=2_000)]


class Erratum(BaseModel):
    """One note. It names one of ``entry``, ``claim`` (a file, without ending) and ``spec`` (name and version)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    entry: _Text | None = None
    claim: _Text | None = None
    spec: _Text | None = None
    date: datetime.date
    wrong: _Text
    follows: Follows

    @model_validator(mode="after")
    def _names_one(self) -> Erratum:
        if sum(name is not None for name in (self.entry, self.claim, self.spec)) != 1:
            raise ValueError("give one of entry, claim and spec")
        return self

    @property
    def withdrawn(self) -> bool:
        """Whether what it names counts no longer."""
        return self.follows == "withdrawn"

    @property
    def about(self) -> str:
        """What it names, in words."""
        for kind in ("entry", "claim", "spec"):
            if name := getattr(self, kind):
                return f"{kind} {name}"
        raise AssertionError


def read_errata(path: Path | None) -> tuple[Erratum, ...]:
    """The notes in a YAML file, a list; none where no file is given.

    Raises:
        DataError: it cannot be read as such; names the note and the field.
    """
    if path is None:
        return ()
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path}: larger than {MAX_BYTES:,} bytes. Give the file of errata.")
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as YAML ({first_line(error)}). Mend or restore the file.") from None
    if data is None:
        return ()
    if not isinstance(data, list):
        raise DataError(f"{path}: holds no list. Write one note per item: entry, date, wrong, follows.")
    return tuple(_erratum(item, f"{path}: note {number}") for number, item in enumerate(data, start=1))


def _erratum(item: object, where: str) -> Erratum:
    try:
        return Erratum.model_validate(item)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        said = first["msg"].removeprefix("Value error, ")
        raise DataError(
            f"{where}: {field + ': ' if field else ''}{said}. A note has date (2026-01-31), wrong, follows (note or "
            "withdrawn), and one of entry, claim, spec."
        ) from None
