"""Records: the rows of a table as they were read, whichever format they come from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness import DataError, did_you_mean, replace_surrogates

Column = str | int
"""A column's name, or its number from 0."""
Value = bool | int | float | str
"""A cell of a label column."""


DELIMITERS = ";\t|,"
"""What separates columns in files of delimited text, besides white space."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for a value that could not be read; an error where it is used.

    Attributes:
        what: the value and what is wrong with it.
    """

    what: str


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a table.

    Attributes:
        where: file and line or row number from 1, for error messages.
        values: by column name, or by column number from 0 where the file names no columns.
    """

    where: str
    values: dict[str, Any] | dict[int, Any]

    def __getitem__(self, column: Column) -> Any:
        """Value of a column, by name or by number from 0.

        Raises:
            DataError: no such column, or a value that cannot be read.
        """
        columns = list(self.values)
        if column in self.values:
            value = self.values[column]  # type: ignore[index]
        elif isinstance(column, int) and 0 <= column < len(columns):
            value = self.values[columns[column]]  # type: ignore[index]
        else:
            raise DataError(
                f"{self.where}: no column {column!r}{did_you_mean(column, columns)}; columns there: {columns}"
                f"{other_delimiter([*columns, *self.values.values()])}"
            )
        if isinstance(value, Unreadable):
            raise DataError(f"{self.where}: column {column!r} holds {value.what}; fix the row or leave it out")
        return value

    def text(self, column: Column, parameter: str = "text_column") -> str:
        """The text in a column; "" where it is null.

        Args:
            parameter: the task's parameter that names the column, for errors.

        Raises:
            DataError: no such column, or something other than text in it.
        """
        text = self[column]
        if text is None:
            return ""
        if not isinstance(text, str):
            raise DataError(
                f"{self.where}: column {column!r} holds {type(text).__name__}, not text; name another `{parameter}`"
            )
        return text


@dataclass(frozen=True)
class RecordTable:
    """The rows of one split.

    Attributes:
        records: in the order of the file.
        source: where they came from, for the manifest.
        mended: rows in which half of a surrogate pair was replaced.
    """

    records: list[Record]
    source: dict[str, str]
    mended: int = 0

    @classmethod
    def of(cls, records: list[Record], source: dict[str, str]) -> RecordTable:
        """The rows as they were read, with U+FFFD for each half of a surrogate pair."""
        changed = 0
        for at, record in enumerate(records):
            values = {name: _mended(value) for name, value in record.values.items()}
            if any(value is not record.values[name] for name, value in values.items()):  # type: ignore[index]
                records[at] = Record(record.where, values)  # type: ignore[arg-type]
                changed += 1
        return cls(records, source, changed)


def _mended(value: Any) -> Any:
    """The value itself where there is nothing to replace."""
    if isinstance(value, str):
        return replace_surrogates(value)
    if isinstance(value, list):
        items = [_mended(item) for item in value]
        return items if any(one is not other for one, other in zip(items, value, strict=True)) else value
    return value


def other_delimiter(fields: Sequence[object]) -> str:
    """What to add to an error about columns where a single one holds what may separate several; "" elsewhere."""
    found = next((mark for mark in DELIMITERS for field in fields if mark in str(field)), None)
    if len(fields) > 2 or found is None:
        return ""
    return f"; if {found!r} stands between the columns, give `delimiter: {json.dumps(found)}`"


def is_missing(value: Any) -> bool:
    """Whether a cell of a label column holds nothing: null, NaN or white space."""
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def canonical_value(value: Any) -> str:
    """A value as text, so that 1, 1.0 and "1" are one value whichever format holds it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def check_columns(header: bool, columns: Sequence[Column | None], hint: str) -> None:
    """Raise ValueError where columns are given by name and the file names none.

    Args:
        header: whether the file's first row names its columns.
        columns: None: not given.
        hint: what to write instead.
    """
    named = [column for column in columns if isinstance(column, str)]
    if not header and named:
        raise ValueError(f"with `header: false` columns are numbers from 0, got {named}; e.g. `{hint}`")
