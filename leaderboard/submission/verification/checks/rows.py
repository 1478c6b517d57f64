"""The rows of one cell as arrays: what the checks look at, without the texts themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from leaderboard.submission.file_format.errors import RefusedError, shown
from leaderboard.submission.file_format.limits import CELL_ROWS
from leaderboard.submission.file_format.table_file import TableFile

_PLAIN: tuple[str, ...] = (
    "step",
    "label",
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
)
_PLAIN += ("attack_nominal", "attack_executed", "judge_nominal", "judge_executed", "defense_nominal")
_PLAIN += ("defense_executed", "seconds")
_EMPTY = -1  # stands for an empty whole number


@dataclass(frozen=True)
class SubmittedRows:
    """Some rows of a cell.

    Attributes:
        names: distinct examples, in order of appearance.
        example: [R], index into ``names``.
        columns: [R] each: those of the table that are numbers (an empty one is NaN, -1 or False), and ``has_NAME`` for
            every column: whether there is a value. ``tokens`` is the length of the attack string, -1 where there is
            none, ``lowest_token`` its lowest id, ``ascii`` whether its text is printable ASCII.
        excluded: [R], why an example was not attacked.
    """

    names: list[str]
    example: NDArray[np.int64]
    columns: dict[str, NDArray[Any]]
    excluded: list[str | None]

    def __len__(self) -> int:
        return len(self.example)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.columns[name]

    def where(self, chosen: NDArray[np.bool_]) -> SubmittedRows:
        """Those rows."""
        at = np.flatnonzero(chosen)
        columns = {name: column[at] for name, column in self.columns.items()}
        return SubmittedRows(self.names, self.example[at], columns, [self.excluded[i] for i in at])

    def first(self, wrong: NDArray[np.bool_]) -> str:
        """Where the first of the wrong rows lies, in words."""
        at = int(np.flatnonzero(wrong)[0])
        return f"example {shown(self.names[self.example[at]])}, step {int(self['step'][at])}"


def rows_of_cells(table: TableFile) -> Iterator[tuple[str, SubmittedRows]]:
    """Key and rows of each cell in the order of the table; a cell whose rows do not lie together comes twice.

    Raises:
        RefusedError: the table cannot be decoded, a row has no cell, example or step, or a cell has too many rows.
    """
    key, held, count = "", list[pa.Table](), 0
    for group in table.checked_groups():
        light = _light(group, table.where)
        for name, part in _by_cell(group, light):
            if held and name != key:
                yield key, _rows(held)
                held, count = [], 0
            key, count = name, count + len(part)
            if count > CELL_ROWS:
                raise RefusedError(f"{table.where}: cell {shown(key)} has more than {CELL_ROWS:,} rows")
            held.append(part)
    if held:
        yield key, _rows(held)


def _by_cell(group: pa.Table, light: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    cells = group["cell"].cast(pa.string()).combine_chunks().dictionary_encode()
    codes = cells.indices.to_numpy()
    starts = np.flatnonzero(np.diff(codes, prepend=-1)).tolist()
    for begin, end in zip(starts, [*starts[1:], len(codes)], strict=True):
        yield cells.dictionary[int(codes[begin])].as_py(), light.slice(begin, end - begin)


def _light(group: pa.Table, where: str) -> pa.Table:
    for name in ("cell", "example", "step"):
        if group[name].null_count:
            raise RefusedError(f"{where}: a row has no {name}")
    text, tokens = group["attack_text"].cast(pa.string()), group["attack_tokens"].combine_chunks()
    columns: dict[str, pa.ChunkedArray] = {name: group[name] for name in _PLAIN}
    columns |= {f"has_{name}": pc.is_valid(group[name]) for name in group.column_names if name != "cell"}
    columns |= {name: group[name].cast(pa.string()) for name in ("example", "excluded")}
    columns["ascii"] = pc.fill_null(pc.match_substring_regex(text, r"^[ -~]*$"), False)
    lengths = pc.fill_null(pc.list_value_length(tokens), -1)
    columns["tokens"] = lengths
    columns["lowest_token"] = _lowest(tokens, lengths)
    return pa.table(columns)


def _lowest(tokens: pa.ListArray, lengths: pa.Array) -> pa.Array:
    """The lowest id of each string, 0 where it has none; an empty id counts as below all."""
    values = pc.fill_null(tokens.flatten(), -1).to_numpy()
    sizes = np.maximum(lengths.to_numpy(), 0)
    found = np.zeros(len(sizes), dtype=np.int64)
    filled = sizes > 0
    if filled.any():
        starts = np.concatenate([[0], sizes.cumsum()[:-1]])
        found[filled] = np.minimum.reduceat(values, starts[filled])
    return pa.array(found)


def _rows(parts: list[pa.Table]) -> SubmittedRows:
    table = pa.concat_tables(parts)
    names = table["example"].combine_chunks().dictionary_encode()
    columns: dict[str, NDArray[Any]] = {}
    for name in table.column_names:
        if name in ("example", "excluded"):
            continue
        column = table[name]
        if pa.types.is_floating(column.type):
            columns[name] = column.to_numpy()
        else:
            empty = False if pa.types.is_boolean(column.type) else _EMPTY
            columns[name] = pc.fill_null(column, empty).to_numpy()
    return SubmittedRows(
        names.dictionary.to_pylist(), names.indices.to_numpy().astype(np.int64), columns, table["excluded"].to_pylist()
    )
