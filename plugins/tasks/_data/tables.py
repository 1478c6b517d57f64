"""Reading local tables (CSV, TSV, JSONL and Parquet, gzipped or not) into records that know their line."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from harness import DataError, did_you_mean
from plugins.tasks._data.records import Record, RecordTable

Format = Literal["csv", "tsv", "jsonl", "parquet"]
_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}


def read_table(
    path: Path, file_format: Format | None, *, header: bool, quoting: bool | None, encoding: str
) -> RecordTable:
    """Read a local file.

    Args:
        file_format: None: told by the file's name.
        header: whether the first row of CSV or TSV names the columns.
        quoting: whether ``"`` encloses fields; None for yes in CSV and no in TSV.

    Raises:
        DataError: missing, of unknown form, or malformed; with the file, the line and the mend.
    """
    file_format = file_format or _format_of(path)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        near = did_you_mean(path.name, _files_beside(path))
        raise DataError(f"{path}: no such file{near}; a relative path counts from the spec's folder") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder; name a file, or give the folder as `dataset`") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    source = {"file": path.name, "sha256": hashlib.sha256(raw).hexdigest()}
    if path.suffix == ".gz":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path}: not a whole gzip file ({error}); fetch it again or drop the .gz") from error
    if file_format == "parquet":
        records = list(_parquet(path, raw))
    elif file_format == "jsonl":
        records = list(_jsonl(path, _decode(path, raw, encoding)))
    else:
        quoted = file_format == "csv" if quoting is None else quoting
        rows = _delimited_rows(path, _decode(path, raw, encoding), "," if file_format == "csv" else "\t", quoted)
        records = list(_records(path, rows, header))
    if not records:
        raise DataError(f"{path}: holds no rows")
    return RecordTable(records, source)


def _format_of(path: Path) -> Format:
    name = path.name.removesuffix(".gz")
    file_format = _SUFFIXES.get(Path(name).suffix.lower())
    if file_format is None:
        raise DataError(f"{path}: cannot tell the format from the name; give `format`: csv, tsv, jsonl or parquet")
    return file_format


def _files_beside(path: Path) -> list[str]:
    return [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []


def _decode(path: Path, raw: bytes, encoding: str) -> str:
    try:
        return raw.decode("utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding)
    except LookupError:
        raise DataError(f"{path}: unknown encoding {encoding!r}; try utf-8 or latin-1") from None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        bad = raw[error.start : error.end].hex(" ")
        raise DataError(
            f"{path}, line {line}: bytes {bad} are not {encoding}; "
            "save the file as UTF-8 or give its `encoding`, e.g. latin-1"
        ) from None


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
            )
        values = dict(zip(names, fields, strict=True)) if names else dict(enumerate(fields))
        yield Record(f"{path}, line {line}", values)


def _jsonl(path: Path, text: str) -> Iterator[Record]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number}: not JSON ({error}); JSONL holds one object per line") from None
        if not isinstance(values, dict):
            raise DataError(
                f"{path}, line {number}: a {type(values).__name__}, not an object; write one {{...}} per line"
            )
        yield Record(f"{path}, line {number}", values)


def _parquet(path: Path, raw: bytes) -> Iterator[Record]:
    import pyarrow
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.read_table(io.BytesIO(raw)).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            f"{path}: not a readable Parquet file ({error}); fetch it again or give its true `format`"
        ) from error
    for number, values in enumerate(rows, 1):
        yield Record(f"{path}, row {number}", values)
