"""A file of strings that somebody brings against a row: a string per line or row, with the example that it breaks."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness.errors import DataError, first_line
from leaderboard.submission.file_format.limits import MAX_EXAMPLES, MAX_FILE_BYTES, MAX_STEPS, MAX_STRING_BYTES

COLUMNS = ("example", "string", "flops")
FORMS = "CSV (.csv), JSON lines (.jsonl) or Parquet (.parquet)"


@dataclass(frozen=True)
class GivenExample:
    """The strings for one example, in order, and what finding them took, FLOPs; None where that is not declared."""

    strings: tuple[str, ...]
    flops: float | None


def read_given_strings(path: Path) -> dict[str, GivenExample]:
    """The strings by example. Columns: ``example``, ``string``, and ``flops`` where compute is declared: what was spent
    on the string, summed over the strings of an example, and unknown where one of them has none.

    Raises:
        DataError: the file cannot be read as such; names the line or row, and the column.
    """
    strings: dict[str, list[str]] = {}
    flops: dict[str, list[float | None]] = {}
    for where, row in _rows(path):
        example, string = (_text(row, name, where) for name in ("example", "string"))
        if not example:
            raise DataError(f"{where}: example is empty. Name the example as the entry's records do.")
        strings.setdefault(example, []).append(string)
        flops.setdefault(example, []).append(_flops(row.get("flops"), where))
        if len(strings) > MAX_EXAMPLES or len(strings[example]) > MAX_STEPS:
            raise DataError(f"{path}: more than {MAX_EXAMPLES:,} examples, or {MAX_STEPS:,} strings of one example.")
    if not strings:
        raise DataError(f"{path}: holds no string. Give a row per string, with the columns example and string.")
    return {example: GivenExample(tuple(texts), _total(flops[example])) for example, texts in strings.items()}


def _total(spent: list[float | None]) -> float | None:
    known = [flops for flops in spent if flops is not None]
    return math.fsum(known) if len(known) == len(spent) else None


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row by column, with where it stands."""
    if not path.is_file():
        raise DataError(f"{path}: no such file. Give the file with your strings: {FORMS}.")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise DataError(f"{path}: larger than {MAX_FILE_BYTES:,} bytes. Split it into several claims.")
    readers = {".csv": _csv, ".jsonl": _json_lines, ".parquet": _parquet}
    if path.suffix not in readers:
        raise DataError(f"{path}: not a kind of file that is read here. Give {FORMS}.")
    try:
        yield from readers[path.suffix](path)
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowException, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({first_line(error)}). Give {FORMS}, as UTF-8.") from None


def _csv(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        _check_columns(path, reader.fieldnames or ())
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if None in row or None in row.values():
                raise DataError(f"{where}: has other columns than the first line. Put texts with commas in quotes.")
            yield where, {name: value or None if name == "flops" else value for name, value in row.items()}


def _json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DataError(f"{where}: not JSON ({first_line(error)}). Write one object per line.") from None
            if not isinstance(row, dict):
                raise DataError(f"{where}: not an object. Write {{'example': …, 'string': …}} in JSON.")
            _check_columns(where, row)
            yield where, row


def _parquet(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    file = pq.ParquetFile(path)
    _check_columns(path, file.schema_arrow.names)
    wanted = [name for name in COLUMNS if name in file.schema_arrow.names]
    number = 0
    for batch in file.iter_batches(batch_size=1024, columns=wanted):
        for row in batch.to_pylist():
            number += 1
            yield f"{path}, row {number}", row


def _check_columns(where: object, names: Any) -> None:
    for name in ("example", "string"):
        if name not in names:
            raise DataError(f"{where}: has no {name}. Each string needs example and string; flops may be left out.")
    if unknown := sorted(set(map(str, names)) - set(COLUMNS)):
        raise DataError(f"{where}: {unknown[0]!a} is not read here. Use {', '.join(COLUMNS)}, or leave it out.")


def _text(row: dict[str, Any], name: str, where: str) -> str:
    text = row.get(name)
    if not isinstance(text, str):
        raise DataError(f"{where}: {name} is {type(text).__name__}, not a text.")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise DataError(f"{where}: {name} holds half of a character (a lone surrogate). Remove it.") from None
    if size > MAX_STRING_BYTES:
        raise DataError(f"{where}: {name} is longer than {MAX_STRING_BYTES:,} bytes.")
    return text


def _flops(value: Any, where: str) -> float | None:
    if value is None:
        return None
    try:
        flops = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        flops = math.nan
    if not 0 <= flops <= 1e40:
        raise DataError(f"{where}: flops is {str(value)[:40]!a}, not a number of FLOPs. Leave it empty if unknown.")
    return flops
