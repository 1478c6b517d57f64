"""Reading the records of a submission: the footer checked before anything is decoded, then one row group at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness.records.schema import ADDED
from leaderboard.arrays import Integers
from leaderboard.submission.file_format.errors import RefusedError, escaped
from leaderboard.submission.file_format.limits import (
    MAX_FOOTER_BYTES,
    MAX_GROUP_BYTES,
    MAX_GROUP_ROWS,
    MAX_GROUPS,
    MAX_ROWS,
    MAX_STRING_BYTES,
)
from leaderboard.submission.file_format.records_table import SCHEMA, TEXT_COLUMNS, TEXT_LIST_COLUMNS

_CACHED_GROUPS = 4
# What pyarrow raises for a file that is not as it should be; the last two for names that are no text.
_UNREADABLE = (pa.ArrowException, OSError, ValueError, LookupError, TypeError)


class RecordsFile:
    """The records in a Parquet file that lies in memory or is mapped into it.

    Attributes:
        source: for messages.
        rows: of each row group.
        created_by: the program and version that wrote it, as it says.
    """

    def __init__(self, buffer: pa.Buffer, source: str) -> None:
        """Raises RefusedError: the footer is not one that `to_parquet` writes."""
        self.source = source
        try:
            metadata = _footer(buffer, source)
            self._plain = pq.ParquetFile(pa.BufferReader(buffer), metadata=metadata)
            self.created_by = str(metadata.created_by)
            schema = self._plain.schema_arrow
            self._lacking = frozenset(ADDED.intersection(SCHEMA.names).difference(schema.names))  # of an older one
            self._with_dictionaries = pq.ParquetFile(
                pa.BufferReader(buffer),
                metadata=metadata,
                read_dictionary=[
                    *[name for name in TEXT_COLUMNS if name not in self._lacking],
                    *[f"{name}.list.element" for name in TEXT_LIST_COLUMNS if name not in self._lacking],
                ],
            )
            self.rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        except _UNREADABLE as error:
            raise _unreadable(source, error) from None
        if schema.names != [name for name in SCHEMA.names if name not in self._lacking]:
            different = [name for name in schema.names if name not in SCHEMA.names]
            different += [name for name in SCHEMA.names if name not in schema.names]
            first = escaped(different[0]) if different else "order"
            raise RefusedError(f"{source}: its columns are not those of a submission ({first})")
        for field in (field for field in SCHEMA if field.name not in self._lacking):
            column_type = schema.field(field.name).type
            if column_type != field.type:
                raise RefusedError(f"{source}: column {field.name} is {escaped(str(column_type))}, not {field.type}")
        self._cached_group = lru_cache(_CACHED_GROUPS)(self._plain_group)

    @property
    def groups(self) -> int:
        """How many row groups there are."""
        return len(self.rows)

    def checked_groups(self) -> Iterator[pa.Table]:
        """Each row group, texts as dictionaries, after a check of all that could grow when it is used.

        Raises:
            RefusedError: it cannot be decoded, a text is no UTF-8 or too long, or it is larger than a row group may be.
        """
        for group in range(self.groups):
            yield self._checked_group(group)

    def cells(self) -> list[tuple[str, int]]:
        """The cells in the order of the rows, and how many rows each has; one that comes back later stands twice."""
        cells: list[tuple[str, int]] = []
        for group in range(self.groups):
            for chunk in self._decoded(self._with_dictionaries, group, ("cell",)).column(0).chunks:
                if chunk.null_count:
                    raise RefusedError(f"{self.source}: a row belongs to no cell")
                names = chunk.dictionary.to_pylist()
                for code, start, end in consecutive(chunk.indices.to_numpy()):
                    name, rows = names[code], end - start
                    if cells and cells[-1][0] == name:
                        rows += cells.pop()[1]
                    cells.append((name, rows))
        return cells

    def slice(self, start: int, length: int, columns: Sequence[str]) -> pa.Table:
        """Rows ``start`` to ``start + length``, in plain types; of a file that `checked_groups` has gone through."""
        parts, first = [], 0
        for group, rows in enumerate(self.rows):
            begin, end = max(start - first, 0), min(start + length - first, rows)
            if begin < end:
                parts.append(self._cached_group(group, tuple(columns)).slice(begin, end - begin))
            first += rows
        return pa.concat_tables(parts) if parts else SCHEMA.empty_table().select(list(columns))

    def _plain_group(self, group: int, columns: tuple[str, ...]) -> pa.Table:
        return self._decoded(self._plain, group, columns)

    def _decoded(self, file: pq.ParquetFile, group: int, columns: Sequence[str] | None = None) -> pa.Table:
        try:
            wanted = list(SCHEMA.names if columns is None else columns)
            known = [name for name in wanted if name not in self._lacking]
            table = file.read_row_group(group, columns=known, use_threads=False)
            if len(table) != self.rows[group]:
                raise RefusedError(f"{self.source}: row group {group} holds {len(table)} rows, not {self.rows[group]}")
            table.validate(full=True)
            for name in self._lacking.intersection(wanted):
                empty = pa.nulls(len(table), SCHEMA.field(name).type)
                encoded = file is self._with_dictionaries and name in TEXT_COLUMNS
                table = table.append_column(name, empty.dictionary_encode() if encoded else empty)
            return table.select(wanted)
        except _UNREADABLE as error:
            raise _unreadable(self.source, error) from None

    def _checked_group(self, group: int) -> pa.Table:
        table = self._decoded(self._with_dictionaries, group)
        size = 0
        for name in (*TEXT_COLUMNS, *(name for name in TEXT_LIST_COLUMNS if name not in self._lacking)):
            for chunk in table[name].chunks:
                if name in TEXT_LIST_COLUMNS:
                    chunk = chunk.flatten()
                lengths = pc.binary_length(chunk.dictionary)
                longest = pc.max(lengths).as_py() or 0
                if longest > MAX_STRING_BYTES:
                    raise RefusedError(
                        f"{self.source}: column {name} has a text of {longest:,} bytes, more than {MAX_STRING_BYTES:,}"
                    )
                size += pc.sum(pc.take(lengths, chunk.indices)).as_py() or 0
        others = (name for name in table.column_names if name not in (*TEXT_COLUMNS, *TEXT_LIST_COLUMNS))
        size += sum(table[name].nbytes for name in others)
        if size > MAX_GROUP_BYTES:
            raise RefusedError(
                f"{self.source}: row group {group} is {size:,} bytes when decoded, more than {MAX_GROUP_BYTES:,}"
            )
        return table


def consecutive(codes: Integers) -> Iterator[tuple[int, int, int]]:
    """Each run of equal ``codes``: the code, where it begins, and where it ends."""
    starts = np.flatnonzero(np.diff(codes, prepend=-1)).tolist()
    for start, end in zip(starts, [*starts[1:], len(codes)], strict=True):
        yield int(codes[start]), start, end


def _footer(buffer: pa.Buffer, source: str) -> pq.FileMetaData:
    """The metadata, from the footer alone, after its length has been looked at."""
    size = buffer.size
    end = buffer.slice(max(0, size - 8)).to_pybytes()
    if size < 12 or end[4:] != b"PAR1" or buffer.slice(0, 4).to_pybytes() != b"PAR1":
        reason = "is an encrypted Parquet file" if end[4:] == b"PARE" else "is not a Parquet file, or is truncated"
        raise RefusedError(f"{source}: {reason}")
    length = int.from_bytes(end[:4], "little")
    if length > MAX_FOOTER_BYTES or length > size - 12:
        raise RefusedError(f"{source}: its footer claims {length:,} bytes")
    metadata = pq.read_metadata(pa.BufferReader(buffer))
    if metadata.metadata:
        raise RefusedError(f"{source}: has metadata besides its columns; a submission has none")
    if metadata.num_rows > MAX_ROWS or metadata.num_row_groups > MAX_GROUPS:
        raise RefusedError(
            f"{source}: {metadata.num_rows:,} rows in {metadata.num_row_groups:,} row groups; "
            f"at most {MAX_ROWS:,} in {MAX_GROUPS:,}"
        )
    if not len(SCHEMA) - len(ADDED) <= metadata.num_columns <= len(SCHEMA):
        raise RefusedError(f"{source}: {metadata.num_columns} columns; a submission has {len(SCHEMA)}")
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        if not 0 < group.num_rows <= MAX_GROUP_ROWS or not 0 <= group.total_byte_size <= MAX_GROUP_BYTES:
            raise RefusedError(
                f"{source}: row group {index} has {group.num_rows:,} rows and {group.total_byte_size:,} bytes; "
                f"at most {MAX_GROUP_ROWS:,} and {MAX_GROUP_BYTES:,}"
            )
        values = max(group.column(column).num_values for column in range(group.num_columns))
        if values > MAX_GROUP_BYTES // 4:
            raise RefusedError(
                f"{source}: row group {index} has {values:,} values in a column; at most {MAX_GROUP_BYTES // 4:,}"
            )
    return metadata


def _unreadable(source: str, error: Exception) -> RefusedError:
    first_line = (str(error).splitlines() or [type(error).__name__])[0]
    return RefusedError(f"{source}: cannot be read as Parquet ({escaped(first_line, 160)})")
