"""The rows of one cell as arrays: what the checks look at, without the texts themselves."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from harness.records.answer_state import ANSWER_STATES, NO_ANSWER
from leaderboard.arrays import Booleans, Floats, Integers
from leaderboard.submission.file_format.errors import RefusedError, escaped
from leaderboard.submission.file_format.limits import MAX_CELL_ROWS
from leaderboard.submission.file_format.records_file import RecordsFile, consecutive
from leaderboard.submission.verification.drawn_answers import drawn_answer_columns

_NUMBER_COLUMNS = (
    "step",
    "label",
    "target",
    "attacked",
    "success",
    "score",
    "unparseable",
    "loss",
    "predicted",
    "attack_loss",
    "queries",
    "draws",
    "broken_draws",
    "attack_nominal",
    "attack_executed",
    "judge_nominal",
    "judge_executed",
    "defense_nominal",
    "defense_executed",
    "seconds",
)
_EMPTY = -1  # stands for an empty whole number
WrongRows = Iterator[tuple[str, Booleans]]
"""What is wrong, and with which rows, [R]."""


@dataclass(frozen=True)
class SubmittedRows:
    """Some rows of a cell.

    Attributes:
        names: distinct examples, in order of appearance.
        example: [R], index into ``names``.
        columns: [R] each: those of the table that are numbers (an empty one is NaN, -1 or False), and ``has_NAME`` for
            every column: whether there is a value. ``tokens`` is the length of the attack string, -1 where there is
            none, ``lowest_token`` its lowest id, ``ascii`` whether its text is printable ASCII; ``missing`` whether the
            text is no answer, ``odd_state`` whether its state is none that there is; those of drawn answers are of
            `drawn_answer_columns`.
        excluded: [R], why an example was not attacked.
        reasons: distinct reasons why a string counts as failed; the column ``failure`` is the index into it, -1 where
            there is none.
    """

    names: list[str]
    example: Integers
    columns: dict[str, NDArray[Any]]
    excluded: list[str | None]
    reasons: list[str]

    def __len__(self) -> int:
        return len(self.example)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.columns[name]

    def floats(self, name: str) -> Floats:
        """A column as floats."""
        return self.columns[name].astype(np.float64)

    def booleans(self, name: str) -> Booleans:
        """A column as booleans."""
        return self.columns[name].astype(bool)

    def where(self, mask: Booleans) -> SubmittedRows:
        """The rows where ``mask``, [R], is true."""
        rows = np.flatnonzero(mask)
        columns = {name: column[rows] for name, column in self.columns.items()}
        excluded = [self.excluded[row] for row in rows]
        return SubmittedRows(self.names, self.example[rows], columns, excluded, self.reasons)

    def failed_as(self, reasons: Container[str]) -> Booleans:
        """Whether a row's string counts as failed for one of ``reasons``, [R]."""
        wanted = [index for index, reason in enumerate(self.reasons) if reason in reasons]
        return np.isin(self["failure"], wanted)

    def first(self, wrong: Booleans) -> str:
        """Where the first of the wrong rows lies, in words."""
        row = int(np.flatnonzero(wrong)[0])
        return f"{self.example_text(row)}, step {int(self['step'][row])}"

    def first_of_each(self, wrong_rows: WrongRows) -> Iterator[str]:
        """Each kind of problem once, with the first row that has it."""
        for problem, wrong in wrong_rows:
            if wrong.any():
                count = int(wrong.sum())
                yield f"{self.first(wrong)}: {problem}" + (f" ({count} rows)" if count > 1 else "")

    def example_text(self, row: int) -> str:
        """The example of a row, for a message."""
        return f"example {escaped(self.names[self.example[row]])}"


def rows_of_cells(records: RecordsFile) -> Iterator[tuple[str, SubmittedRows]]:
    """Key and rows of each cell in the order of the file; a cell whose rows do not lie together comes twice.

    Raises:
        RefusedError: the records cannot be decoded, a row has no cell, example or step, or a cell has too many rows.
    """
    key, parts, count = "", list[pa.Table](), 0
    for group in records.checked_groups():
        numbers = _numbers(group, records.source)
        for name, part in _by_cell(group, numbers):
            if parts and name != key:
                yield key, _as_arrays(parts)
                parts, count = [], 0
            key, count = name, count + len(part)
            if count > MAX_CELL_ROWS:
                raise RefusedError(f"{records.source}: cell {escaped(key)} has more than {MAX_CELL_ROWS:,} rows")
            parts.append(part)
    if parts:
        yield key, _as_arrays(parts)


def _by_cell(group: pa.Table, numbers: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    cells = group["cell"].cast(pa.string()).combine_chunks().dictionary_encode()
    for code, start, end in consecutive(cells.indices.to_numpy()):
        yield cells.dictionary[code].as_py(), numbers.slice(start, end - start)


def _numbers(group: pa.Table, source: str) -> pa.Table:
    """A row group with what the checks ask of its texts in their place."""
    for name in ("cell", "example", "step"):
        if group[name].null_count:
            raise RefusedError(f"{source}: a row has no {name}")
    text, tokens = group["attack_text"].cast(pa.string()), group["attack_tokens"].combine_chunks()
    columns: dict[str, pa.ChunkedArray] = {name: group[name] for name in _NUMBER_COLUMNS}
    columns |= {f"has_{name}": pc.is_valid(group[name]) for name in group.column_names if name != "cell"}
    columns |= {name: group[name].cast(pa.string()) for name in ("example", "excluded", "failure")}
    state = group["answer_state"].cast(pa.string())
    columns["missing"] = pc.is_in(state, pa.array(sorted(NO_ANSWER)))
    columns["odd_state"] = pc.invert(pc.is_in(state, pa.array([*ANSWER_STATES, None], pa.string())))
    columns["ascii"] = pc.fill_null(pc.match_substring_regex(text, r"^[ -~]*$"), False)
    lengths = pc.fill_null(pc.list_value_length(tokens), -1)
    columns["tokens"] = lengths
    columns["lowest_token"] = _lowest_tokens(tokens, lengths)
    return pa.table(columns | drawn_answer_columns(group))


def _lowest_tokens(tokens: pa.ListArray, lengths: pa.Array) -> pa.Array:
    """The lowest id of each string, 0 where it has none; an empty id counts as below all."""
    values = pc.fill_null(tokens.flatten(), -1).to_numpy()
    sizes = np.maximum(lengths.to_numpy(), 0)
    lowest = np.zeros(len(sizes), dtype=np.int64)
    filled = sizes > 0
    if filled.any():
        starts = np.concatenate([[0], sizes.cumsum()[:-1]])
        lowest[filled] = np.minimum.reduceat(values, starts[filled])
    return pa.array(lowest)


def _as_arrays(parts: list[pa.Table]) -> SubmittedRows:
    table = pa.concat_tables(parts)
    examples = table["example"].combine_chunks().dictionary_encode()
    failures = table["failure"].combine_chunks().dictionary_encode()
    columns: dict[str, NDArray[Any]] = {"failure": pc.fill_null(failures.indices, _EMPTY).to_numpy()}
    for name in table.column_names:
        if name in ("example", "excluded", "failure"):
            continue
        column = table[name]
        if pa.types.is_floating(column.type):
            columns[name] = column.to_numpy()
        else:
            empty = False if pa.types.is_boolean(column.type) else _EMPTY
            columns[name] = pc.fill_null(column, empty).to_numpy()
    return SubmittedRows(
        names=examples.dictionary.to_pylist(),
        example=examples.indices.to_numpy().astype(np.int64),
        columns=columns,
        excluded=table["excluded"].to_pylist(),
        reasons=failures.dictionary.to_pylist(),
    )
