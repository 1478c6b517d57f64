"""Rows as they were read, whichever format they come from."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from harness import DataError


@dataclass(frozen=True, slots=True)
class Record:
    """One row.

    Attributes:
        where: file and line or row number from 1, for error messages.
        values: by column name, or by column number from 0 where the file names no columns.
    """

    where: str
    values: dict[str, Any] | dict[int, Any]

    def __getitem__(self, column: str | int) -> Any:
        """Value of a column, by name or by number from 0.

        Raises:
            DataError: no such column.
        """
        if column in self.values:
            return self.values[column]  # type: ignore[index]
        if isinstance(column, int) and 0 <= column < len(self.values):
            return list(self.values.values())[column]
        there = list(self.values)
        raise DataError(f"{self.where}: no column {column!r}{did_you_mean(column, there)}; columns there: {there}")


@dataclass(frozen=True)
class RecordTable:
    """The rows of one split and, for the manifest, where they came from."""

    records: list[Record]
    source: dict[str, str]


def did_you_mean(wrong: object, known: Iterable[object]) -> str:
    """A suggestion to append to an error, or nothing."""
    close = difflib.get_close_matches(str(wrong), [str(name) for name in known], n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""
