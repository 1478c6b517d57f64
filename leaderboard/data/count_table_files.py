"""Count tables from files: CSV (, or ;), TSV or Parquet, plain or gzip, told apart by content."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from harness.errors import DataError, one_line
from leaderboard.data.count_table import (
    KNOWN,
    OPTIONAL_TEXT,
    OPTIONAL_WHOLE,
    TEXT,
    WHOLE,
    Column,
    CountTable,
    make_count_table,
    value_location,
)

MAX_BYTES = 2**30  # a table of a million curves is smaller; more is a mistake or a bomb


def read_count_table(path: str | Path) -> CountTable:
    """The table in the file ``path``; its content tells its form, not its name.

    Raises:
        DataError: the file is missing or not of this form; names the file, row and column.
    """
    path = Path(path)
    if path.is_dir():
        raise DataError(
            f"{path}: a directory without run.json. Give a table file, an entry, or the folder that `harness run` "
            "wrote."
        )
    return _typed_table(str(path), _parse(path, _read_bytes(path)))


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            is_gzip = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if is_gzip else path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise DataError(
            f"{path}: no such file. Give a CSV, TSV or Parquet table, a run directory, or an entry."
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}). Write the file again."
        ) from None
    if len(content) > MAX_BYTES:
        raise DataError(f"{path}: holds more than {MAX_BYTES // 2**20} MiB. Split it, by task for instance.")
    return content


def _parse(path: Path, content: bytes) -> pa.Table:
    try:
        if content[:4] == b"PAR1":
            return pq.read_table(pa.BufferReader(content))
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise DataError(f"{path}: its text is UTF-16. Save it as UTF-8.")
        header = content.split(b"\n", 1)[0].decode("utf-8-sig")
        delimiter = next((mark for mark in "\t;" if mark in header), ",")
        names = [name.strip().strip('"') for name in header.rstrip("\r").split(delimiter)]
        repeated = {name for name in names if names.count(name) > 1}
        if repeated:
            raise DataError(f"{path}: column {min(repeated)!r} appears twice. Remove one.")
        return pacsv.read_csv(
            io.BytesIO(content),
            read_options=pacsv.ReadOptions(column_names=names, skip_rows=1),
            parse_options=pacsv.ParseOptions(delimiter=delimiter),
            # As text first, so that a bad number can be named with its row.
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        raise DataError(
            f"{path}: not a CSV, TSV or Parquet table ({str(error).splitlines()[0]}). Write it again."
        ) from None


def _typed_table(source: str, parsed: pa.Table) -> CountTable:
    columns: dict[str, Column] = {}
    for name in KNOWN:
        index = parsed.schema.get_field_index(name)
        if index < 0:
            continue
        column = parsed.column(index)
        if name in TEXT or name in OPTIONAL_TEXT:
            columns[name] = _text_column(source, name, column)
        else:
            columns[name] = _number_column(source, name, column, whole=name in WHOLE or name in OPTIONAL_WHOLE)
    return make_count_table(source, columns)


def _text_column(source: str, name: str, column: pa.ChunkedArray) -> Column:
    values = column.to_pylist()
    for index, value in enumerate(values):
        if not isinstance(value, str) or not value.strip():
            location = value_location(source, index, name)
            raise DataError(f"{location}: {value!r} is not a name. Put a text there, or leave the row out.")
    texts = np.empty(len(values), dtype=object)
    texts[:] = [one_line(value) for value in values]
    return texts


def _number_column(source: str, name: str, column: pa.ChunkedArray, *, whole: bool) -> Column:
    if pa.types.is_boolean(column.type) or not (_is_number(column.type) or _is_text(column.type)):
        raise DataError(f"{source}: column {name!r} holds {column.type}. Write it as numbers.")
    try:
        plain = pc.utf8_trim_whitespace(column.cast(pa.string())) if _is_text(column.type) else column
        values = pc.cast(plain, pa.float64(), safe=False).to_numpy()
    except pa.ArrowException:
        raise _not_a_number(source, name, column.to_pylist()) from None
    if column.null_count or np.isnan(values).any():
        raise _not_a_number(source, name, column.to_pylist())
    if not whole:
        return np.asarray(values, dtype=np.float64)
    fractional = ~np.isfinite(values) | (values != np.floor(values)) | (np.abs(values) > 2**53)
    if fractional.any():
        index = int(fractional.argmax())
        location = value_location(source, index, name)
        raise DataError(f"{location}: {values[index]} is not a whole number. Correct it, or leave the row out.")
    return np.asarray(values, dtype=np.int64)


def _is_number(arrow_type: Any) -> bool:
    return bool(pa.types.is_integer(arrow_type) or pa.types.is_floating(arrow_type) or pa.types.is_decimal(arrow_type))


def _is_text(arrow_type: Any) -> bool:
    return bool(pa.types.is_string(arrow_type) or pa.types.is_large_string(arrow_type))


def _not_a_number(source: str, name: str, values: list[Any]) -> DataError:
    for index, value in enumerate(values):
        try:
            valid = value is not None and not np.isnan(float(value))
        except ValueError:
            valid = False
        if not valid:
            location = value_location(source, index, name)
            return DataError(f"{location}: {value!r} is not a number. Correct it, or leave the row out.")
    return DataError(f"{source}: column {name!r} cannot be read as numbers. Write plain decimal numbers.")
