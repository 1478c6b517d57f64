"""The figures that a study published, from a small file of facts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import DataError, first_line

FILE = Path(__file__).with_name("published.yaml")
MAX_BYTES = 2**20
FindingName = Literal["undefended", "attack_compute", "rounds", "offense_defense", "transfer"]
_Text = Annotated[str, Field(min_length=1, max_length=500)]


class PublishedFigure(BaseModel):
    """One figure: what it is ``of``, what was measured, and by size or position a number or a range of numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    of: _Text
    measure: _Text
    values: Annotated[dict[_Text, float | tuple[float, float]], Field(min_length=1)]


class Published(BaseModel):
    """All figures, by finding, and where they are from."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    source: _Text
    findings: dict[FindingName, tuple[PublishedFigure, ...]]

    def of(self, name: FindingName) -> tuple[PublishedFigure, ...]:
        """The figures of a finding; none where the file has none."""
        return self.findings.get(name, ())


def read_published(path: Path | None = None) -> Published:
    """The figures in a YAML file; those of the study where none is given.

    Raises:
        DataError: it cannot be read as such; names the file and the field.
    """
    path = path or FILE
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path}: larger than {MAX_BYTES:,} bytes. Give a file of published figures.")
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as YAML ({first_line(error)}). Mend or restore the file.") from None
    try:
        return Published.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise DataError(
            f"{path}: {field + ': ' if field else ''}{first['msg']}. The file has source, and findings by name "
            "(undefended, attack_compute, rounds, offense_defense, transfer), each a list of of, measure, values."
        ) from None
