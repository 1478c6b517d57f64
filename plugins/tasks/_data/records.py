"""Records: the rows of a table as they were read, whichever format they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness import DataError, did_you_mean

Column = str | int
"""A column's name, or its number from 0."""
Value = bool | int | float | str
"""A cell of a label column."""


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
            DataError: no such column.
        """
        if column in self.values:
            return self.values[column]  # type: ignore[index]
        if isinstance(column, int) and 0 <= column < len(self.values):
            return list(self.values.values())[column]
        columns = list(self.values)
        raise DataError(f"{self.where}: no column {column!r}{did_you_mean(column, columns)}; columns there: {columns}")

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
    """

    records: list[Record]
    source: dict[str, str]


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
