"""Answers that people have judged: a table with a prompt, an answer and a label, as CSV, JSON lines or Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import DataError, did_you_mean

LAYOUTS = (
    ("goal", "target_response", "human_majority"),  # JailbreakBench/JBB-Behaviors, data/judge-comparison.csv
    ("prompt", "answer", "label"),
)
"""Columns of prompt (without an attack string), answer and label in tables that are read as they are."""
TRUE, FALSE = ("1", "true", "yes", "success"), ("0", "false", "no", "failure")


@dataclass(frozen=True, slots=True)
class LabelledAnswer:
    """One answer. ``success``: whether people take it for a success of the attacker."""

    prompt: str
    answer: str
    success: bool


def read_labelled_answers(
    path: Path, prompt: str | None = None, answer: str | None = None, label: str | None = None
) -> list[LabelledAnswer]:
    """The rows of a table.

    Args:
        prompt, answer, label: its columns; None: those of the first of `LAYOUTS` that it has.

    Raises:
        DataError: it cannot be read, lacks a column, or has a label that is neither of `TRUE` nor of `FALSE`.
    """
    rows = list(_rows(path))
    if not rows:
        raise DataError(f"{path}: contains no rows")
    names = list(rows[0][1])
    layout = next((one for one in LAYOUTS if set(one) <= set(names)), LAYOUTS[-1])
    columns = [given or default for given, default in zip((prompt, answer, label), layout, strict=True)]
    for option, column in zip(("prompt", "answer", "label"), columns, strict=True):
        if column not in names:
            raise DataError(
                f"{path}: no column {column!r}{did_you_mean(column, names)}; give --{option}-column, of: {names}"
            )
    return [_labelled(where, row, columns) for where, row in rows]


def _labelled(where: str, row: dict[str, Any], columns: Sequence[str]) -> LabelledAnswer:
    prompt, answer, label = (row.get(column) for column in columns)
    word = str(label).strip().casefold().removesuffix(".0")
    if word not in TRUE + FALSE:
        raise DataError(
            f"{where}: {columns[2]!r} holds {label!r}; write {', '.join(TRUE)} if the answer is a success for the "
            f"attacker, and {', '.join(FALSE)} if it is not"
        )
    if not isinstance(prompt, str) or not prompt.strip():
        raise DataError(f"{where}: {columns[0]!r} holds no text; write the request that was answered")
    return LabelledAnswer(prompt, str(answer or ""), word in TRUE)


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where each row stands, and what it holds by column."""
    kind = path.suffix.lower()
    try:
        if kind == ".parquet":
            import pyarrow.parquet

            rows: list[Any] = pyarrow.parquet.read_table(path).to_pylist()
        elif kind in (".jsonl", ".ndjson"):
            rows = [json.loads(line) for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        elif kind == ".csv":
            csv.field_size_limit(2**31 - 1)  # answers may be long
            rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))
        else:
            raise DataError(f"{path}: name a .csv, .jsonl or .parquet file")
    except DataError:
        raise
    except (OSError, ValueError, csv.Error) as error:  # pyarrow's own are of both sorts
        raise DataError(f"{path}: cannot be read ({error})") from None
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise DataError(f"{path}, row {number}: not an object; write one object per line")
        yield f"{path}, row {number}", row
