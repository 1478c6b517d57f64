"""Reading the table of a submission: its footer checked before anything is decoded, then one row group at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from leaderboard.submission.file_format.errors import RefusedError, shown
from leaderboard.submission.file_format.limits import (
    FOOTER_BYTES,
    GROUP_BYTES,
    GROUP_ROWS,
    GROUPS,
    ROWS,
    STRING_BYTES,
)
from leaderboard.submission.file_format.table import SCHEMA, TEXTS

_KEPT = 4  # decoded row groups


class TableFile:
    """The table in a Parquet file that lies in memory or is mapped into it.

    Attributes:
        where: for messages.
        groups: number of row groups.
        rows: of each row group.
    """

    def __init__(self, buffer: pa.Buffer, where: str) -> None:
        """Raises RefusedError: the footer is not one that `to_parquet` writes."""
        self.where = where
        self._buffer = buffer
        try:
            metadata = _footer(buffer, where)
            self._file = pq.ParquetFile(pa.BufferReader(buffer), metadata=metadata, read_dictionary=list(TEXTS))
            self._plain = pq.ParquetFile(pa.BufferReader(buffer), metadata=metadata)
            self.rows = [metadata.row_group(at).num_rows for at in range(metadata.num_row_groups)]
            found = self._plain.schema_arrow
        except (pa.ArrowException, OSError, ValueError, LookupError, TypeError) as error:  # also names that are no text
            raise _unreadable(where, error) from None
        if found.names != SCHEMA.names:
            strange = [n for n in found.names if n not in SCHEMA.names] or [
                n for n in SCHEMA.names if n not in found.names
            ]
            raise RefusedError(
                f"{where}: its columns are not those of a submission ({shown(strange[0]) if strange else 'order'})"
            )
        wrong = [field for field in SCHEMA if found.field(field.name).type != field.type]
        if wrong:
            is_ = found.field(wrong[0].name).type
            raise RefusedError(f"{where}: column {wrong[0].name} is {shown(str(is_))}, not {wrong[0].type}")
        self.group = lru_cache(_KEPT)(self._group)

    @property
    def groups(self) -> int:
        return len(self.rows)

    def checked_groups(self) -> Iterator[pa.Table]:
        """Each row group, texts as dictionaries, after a check of all that could grow when it is used.

        Raises:
            RefusedError: it cannot be decoded, a text is no UTF-8 or too long, or it is larger than a row group may be.
        """
        for at in range(self.groups):
            yield self._checked(at)

    def cells(self) -> list[tuple[str, int]]:
        """The cells in the order of the rows, and how many rows each has; one that comes back later stands twice."""
        found: list[tuple[str, int]] = []
        for at in range(self.groups):
            for chunk in self._decoded(self._file, at, ("cell",)).column(0).chunks:
                if chunk.null_count:
                    raise RefusedError(f"{self.where}: a row belongs to no cell")
                codes, names = chunk.indices.to_numpy(), chunk.dictionary.to_pylist()
                starts = np.flatnonzero(np.diff(codes, prepend=-1))
                for begin, end in zip(starts, np.append(starts[1:], len(codes)), strict=True):
                    name, rows = names[codes[begin]], int(end - begin)
                    if found and found[-1][0] == name:
                        rows += found.pop()[1]
                    found.append((name, rows))
        return found

    def slice(self, start: int, length: int, columns: Sequence[str]) -> pa.Table:
        """Rows ``start`` to ``start + length``, in plain types; of a file that `checked_groups` has gone through."""
        parts, first = [], 0
        for at, rows in enumerate(self.rows):
            begin, end = max(start - first, 0), min(start + length - first, rows)
            if begin < end:
                parts.append(self.group(at, tuple(columns)).slice(begin, end - begin))
            first += rows
        return pa.concat_tables(parts) if parts else SCHEMA.empty_table().select(list(columns))

    def _group(self, at: int, columns: tuple[str, ...]) -> pa.Table:
        return self._decoded(self._plain, at, columns)

    def _decoded(self, file: pq.ParquetFile, at: int, columns: Sequence[str] | None = None) -> pa.Table:
        try:
            table = file.read_row_group(at, columns=None if columns is None else list(columns), use_threads=False)
            if len(table) != self.rows[at]:
                raise RefusedError(f"{self.where}: row group {at} holds {len(table)} rows, not {self.rows[at]}")
            table.validate(full=True)
            return table
        except (pa.ArrowException, OSError, ValueError, LookupError, TypeError) as error:  # also names that are no text
            raise _unreadable(self.where, error) from None

    def _checked(self, at: int) -> pa.Table:
        table = self._decoded(self._file, at)
        size = 0
        for name in TEXTS:
            for chunk in table[name].chunks:
                lengths = pc.binary_length(chunk.dictionary)
                longest = pc.max(lengths).as_py() or 0
                if longest > STRING_BYTES:
                    raise RefusedError(
                        f"{self.where}: column {name} has a text of {longest:,} bytes, more than {STRING_BYTES:,}"
                    )
                size += pc.sum(pc.take(lengths, chunk.indices)).as_py() or 0
        size += sum(
            column.nbytes for name, column in zip(table.column_names, table.columns, strict=True) if name not in TEXTS
        )
        if size > GROUP_BYTES:
            raise RefusedError(
                f"{self.where}: row group {at} is {size:,} bytes when decoded, more than {GROUP_BYTES:,}"
            )
        return table


def _footer(buffer: pa.Buffer, where: str) -> pq.FileMetaData:
    """The metadata, from the footer alone, after its length has been looked at."""
    size = buffer.size
    tail = buffer.slice(max(0, size - 8)).to_pybytes()
    if size < 12 or tail[4:] != b"PAR1" or buffer.slice(0, 4).to_pybytes() != b"PAR1":
        what = "is an encrypted Parquet file" if tail[4:] == b"PARE" else "is not a Parquet file, or is cut short"
        raise RefusedError(f"{where}: {what}")
    length = int.from_bytes(tail[:4], "little")
    if length > FOOTER_BYTES or length > size - 12:
        raise RefusedError(f"{where}: its footer claims {length:,} bytes")
    metadata = pq.read_metadata(pa.BufferReader(buffer))
    if metadata.metadata:
        raise RefusedError(f"{where}: carries metadata beside its columns; a submission has none")
    if metadata.num_rows > ROWS or metadata.num_row_groups > GROUPS:
        raise RefusedError(
            f"{where}: {metadata.num_rows:,} rows in {metadata.num_row_groups:,} row groups; "
            f"at most {ROWS:,} in {GROUPS:,}"
        )
    if metadata.num_columns != sum(1 for _ in SCHEMA):
        raise RefusedError(f"{where}: {metadata.num_columns} columns; a submission has {len(SCHEMA)}")
    for at in range(metadata.num_row_groups):
        group = metadata.row_group(at)
        if not 0 < group.num_rows <= GROUP_ROWS or not 0 <= group.total_byte_size <= GROUP_BYTES:
            raise RefusedError(
                f"{where}: row group {at} has {group.num_rows:,} rows and {group.total_byte_size:,} bytes; "
                f"at most {GROUP_ROWS:,} and {GROUP_BYTES:,}"
            )
        values = max(group.column(column).num_values for column in range(group.num_columns))
        if values > GROUP_BYTES // 4:
            raise RefusedError(
                f"{where}: row group {at} has {values:,} values in a column; at most {GROUP_BYTES // 4:,}"
            )
    return metadata


def _unreadable(where: str, error: Exception) -> RefusedError:
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return RefusedError(f"{where}: cannot be read as Parquet ({shown(first, 160)})")
