"""Files of texts that an attack is given: tables as tasks read them, and plain lines."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from harness import Attack, DataError, host_field, replace_surrogates
from plugins.tasks._data.decode import decoded, unzipped
from plugins.tasks._data.records import Column, Record
from plugins.tasks._data.tables import Format, file_bytes, read_table

LINE_COLUMN = "text"
"""The column of a file of plain lines."""


class TableParams(Attack.Params):
    """How to read the file; what is read of it counts for the identity, and not these."""

    format: Format | Literal["lines"] | None = host_field(
        None, description="of the file; by default from the name: lines for .txt, one text per line"
    )
    header: bool = host_field(
        True, description="CSV and TSV: the first row names the columns; else columns are numbers from 0"
    )
    delimiter: str | None = host_field(
        None,
        pattern='^[^"\r\n]$',
        description="CSV and TSV: the character between columns; by default a comma, in TSV a tab",
    )
    quoting: bool | None = host_field(None, description='CSV and TSV: " encloses fields; by default in CSV only')
    encoding: str = host_field("utf-8", description="of text files")


def read_records(path: Path, params: TableParams) -> list[Record]:
    """The rows of a file, at least one; of plain lines those that are not blank, in a column `LINE_COLUMN`.

    Raises:
        DataError: missing, malformed or empty; with the file, the line and the fix.
    """
    if params.format == "lines" or (params.format is None and Path(path.name.removesuffix(".gz")).suffix == ".txt"):
        lines = decoded(path, unzipped(path, file_bytes(path)), params.encoding).split("\n")
        rows = [
            Record(f"{path}, line {number}", {LINE_COLUMN: replace_surrogates(line.removesuffix("\r"))})
            for number, line in enumerate(lines, 1)
            if line.strip()
        ]
        if not rows:
            raise DataError(f"{path}: contains no rows")
        return rows
    options = {"header": params.header, "delimiter": params.delimiter, "quoting": params.quoting}
    return read_table(path, params.format, encoding=params.encoding, **options).records


def written_text(record: Record, column: Column, parameter: str) -> str:
    """The text in a column, which must not be empty.

    Raises:
        DataError: no such column, no text, or nothing in it.
    """
    text = record.text(column, parameter)
    if not text.strip():
        raise DataError(f"{record.where}: the text in column {column!r} is empty; write one or leave out the row")
    return text
