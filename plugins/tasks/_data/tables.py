"""Reading local tables (CSV, TSV, JSON, JSONL and Parquet, gzipped or not) into records that know their line."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from harness import DataError, did_you_mean
from plugins.tasks._data.arrow_records import arrow_records
from plugins.tasks._data.decode import decoded, unzipped
from plugins.tasks._data.records import Record, RecordTable, other_delimiter

Format = Literal["csv", "tsv", "json", "jsonl", "parquet"]
_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}


def read_table(
    path: Path,
    file_format: Format | None,
    *,
    header: bool = True,
    delimiter: str | None = None,
    quoting: bool | None = None,
    encoding: str = "utf-8",
) -> RecordTable:
    """Read a local file.

    Args:
        file_format: None: told by the file's name.
        header: whether the first row of CSV or TSV names the columns.
        delimiter: the character between columns; None for a comma in CSV and a tab in TSV.
        quoting: whether ``"`` encloses fields; None for yes in CSV and no in TSV.

    Raises:
        DataError: missing, of unknown form, or malformed; with the file, the line and the fix.
    """
    file_format = file_format or _format_of(path)
    raw = file_bytes(path)
    source = {"file": path.name, "sha256": hashlib.sha256(raw).hexdigest()}
    raw = unzipped(path, raw)
    if file_format == "parquet":
        records = _parquet(path, raw)
    elif file_format == "json":
        records = list(_json(path, decoded(path, raw, encoding)))
    elif file_format == "jsonl":
        records = list(_jsonl(path, decoded(path, raw, encoding)))
    else:
        quoted = file_format == "csv" if quoting is None else quoting
        mark = delimiter or ("," if file_format == "csv" else "\t")
        rows = _delimited_rows(path, decoded(path, raw, encoding), mark, quoted)
        records = list(_records(path, rows, header))
    if not records:
        raise DataError(f"{path}: contains no rows")
    return RecordTable.of(records, source)


def file_bytes(path: Path) -> bytes:
    """What a file holds.

    Raises:
        DataError: there is no such file, or it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        near = did_you_mean(path.name, _files_beside(path))
        raise DataError(f"{path}: no such file{near}; a relative path starts at the spec's folder") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder; name a file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _format_of(path: Path) -> Format:
    name = path.name.removesuffix(".gz")
    file_format = _SUFFIXES.get(Path(name).suffix.lower())
    if file_format is None:
        raise DataError(
            f"{path}: cannot tell the format from the name; give `format`: csv, tsv, json, jsonl or parquet"
        )
    return file_format


def _files_beside(path: Path) -> list[str]:
    return [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []


def _delimited_rows(path: Path, text: str, delimiter: str, quoted: bool) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of each row that is not blank."""
    if not quoted:  # only "\n" ends a row here: the csv module would also break at a lone "\r"
        for line, row in enumerate(text.split("\n"), 1):
            if row.strip("\r"):
                yield line, row.removesuffix("\r").split(delimiter)
        return
    limit = csv.field_size_limit(max(len(text), 1))  # its default refuses fields over 128 KiB
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        line = 1
        rows = []
        for fields in reader:
            if fields:
                rows.append((line, fields))
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}, line {line}: {error}; if quotes are plain characters there, give `quoting: false`"
        ) from error
    finally:
        csv.field_size_limit(limit)
    yield from rows


def _records(path: Path, rows: Iterator[tuple[int, list[str]]], header: bool) -> Iterator[Record]:
    names: list[str] | None = next(rows, (0, []))[1] if header else None
    if names and len(set(names)) < len(names):
        raise DataError(
            f"{path}, line 1: two columns have one name in {names}; rename one, or give `header: false` if this is data"
        )
    width = len(names) if names else None
    for line, fields in rows:
        width = width or len(fields)
        if len(fields) != width:
            raise DataError(
                f"{path}, line {line}: {len(fields)} fields where {width} are expected; "
                "a separator inside the text must be quoted (`quoting: true`) or replaced"
                f"{other_delimiter(names or [])}"
            )
        values = dict(zip(names, fields, strict=True)) if names else dict(enumerate(fields))
        yield Record(f"{path}, line {line}", values)


def _json(path: Path, text: str) -> Iterator[Record]:
    """The items of one array; a file that is none is read as one object per line."""
    if not text.lstrip().startswith("["):
        yield from _jsonl(path, text)
        return
    try:
        items = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error}); write one array of objects, or one object per line") from None
    for number, values in enumerate(items, 1):
        yield _json_record(f"{path}, item {number}", values, "write an array of objects: [{...}, {...}]")


def _jsonl(path: Path, text: str) -> Iterator[Record]:
    array = "; if the whole file is one array, give `format: json`" if text.lstrip().startswith("[") else ""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{path}, line {number}: not JSON ({error}); JSONL holds one object per line{array}"
            ) from None
        yield _json_record(f"{path}, line {number}", values, f"write one {{...}} per line{array}")


def _json_record(where: str, values: Any, mend: str) -> Record:
    if not isinstance(values, dict):
        raise DataError(f"{where}: a {type(values).__name__}, not an object; {mend}")
    return Record(where, values)


def _parquet(path: Path, raw: bytes) -> list[Record]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(io.BytesIO(raw)).read()
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            f"{path}: not a readable Parquet file ({error}); download it again or give its true `format`"
        ) from error
    return arrow_records(table, str(path), lambda number: f"{path}, row {number}")
