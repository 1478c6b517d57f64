"""The table form: counts of success per curve and iteration. Everything that is fitted is fitted to such a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError

Column = NDArray[Any]

TEXT = ("task", "family", "attack")
WHOLE = ("n_params", "seed", "iteration", "trials", "successes")
REAL = ("attack_compute",)
REQUIRED = (*TEXT, *WHOLE, *REAL)
OPTIONAL_TEXT = ("victim", "threat", "defense")
OPTIONAL_WHOLE = ("round",)
OPTIONAL_REAL = ("defense_compute", "inference_compute")
KNOWN = (*REQUIRED, *OPTIONAL_TEXT, *OPTIONAL_WHOLE, *OPTIONAL_REAL)
NUMBERS = (*WHOLE, *REAL, *OPTIONAL_WHOLE, *OPTIONAL_REAL)
IDENTITY = ("task", "family", "attack", "n_params", *OPTIONAL_TEXT)  # what a fit is of, less the round
_LEAST = {"n_params": 1, "trials": 1}  # all other numbers: at least 0, the seed any
UNKNOWN_SIZE = 2**62  # n_params of a victim whose size nobody knows: sorts last, and no file can say it


@dataclass(frozen=True)
class Table:
    """Rows of one attack curve each iteration.

    Columns: task, family, attack (text); n_params, seed, iteration, trials, successes (whole numbers); attack_compute
    (cumulative over iterations, mean per attacked example, as a fraction of the victim's pretraining or reference
    compute); optionally victim, threat, defense (text), round, defense_compute (as the same fraction), and
    inference_compute (the defender's compute per answer, as a multiple of an undefended one). From records compute may
    be NaN, which is unknown, and n_params `UNKNOWN_SIZE`; files cannot say so.

    Attributes:
        source: file or run, for messages.
        columns: equally long arrays: object for text, int64, float64.
    """

    source: str
    columns: Mapping[str, Column]

    def __len__(self) -> int:
        return len(self.columns["task"])

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def keys(self, *names: str) -> list[str]:
        """Those of ``names`` that this table has."""
        return [name for name in names if name in self.columns]

    def rows(self, where: Sequence[int] | Column) -> Table:
        """The rows at the given indices."""
        return Table(self.source, {name: column[where] for name, column in self.columns.items()})

    def groups(self, names: Sequence[str]) -> Iterator[tuple[dict[str, Any], Table]]:
        """The rows that agree in all of ``names``, group by group in sorted order, each with what they agree in (None
        for an unknown size).
        """
        found: dict[tuple[Any, ...], list[int]] = {}
        for at, key in enumerate(zip(*(self.columns[name].tolist() for name in names), strict=True)):
            found.setdefault(key, []).append(at)
        for key in sorted(found):
            agree = dict(zip(names, key, strict=True))
            if agree.get("n_params") == UNKNOWN_SIZE:
                agree["n_params"] = None
            yield agree, self.rows(found[key])


def make_table(source: str, columns: Mapping[str, Column]) -> Table:
    """A table from typed columns, after checking every value. Raises `DataError` with source, row and column."""
    for name in REQUIRED:
        if name not in columns:
            raise DataError(f"{source}: column {name!r} is missing. Needed: {', '.join(REQUIRED)}.")
    table = Table(source, {name: columns[name] for name in KNOWN if name in columns})
    for name, column in table.columns.items():
        if column.dtype == object or name == "seed":
            continue
        least = _LEAST.get(name, 0)
        _refuse(table, name, np.isinf(column), "is not a finite number: give a number, or leave the row out")
        _refuse(table, name, column < least, f"is below {least}: correct it, or leave the row out")
    over = table["successes"] > table["trials"]
    _refuse(table, "successes", over, "is more than the trials of its row: correct one of them")
    _check_curves(table)
    return table


def _refuse(table: Table, name: str, bad: Column, why: str) -> None:
    if bad.any():
        at = int(bad.argmax())
        raise DataError(f"{place(table.source, at, name)}: {table[name][at]} {why}.")


def place(source: str, at: int, column: str) -> str:
    """How messages name a value: ``at`` counts from 0, people and this text from 1."""
    return f"{source}: row {at + 1} (not counting the header), column {column!r}"


def curve_keys(table: Table) -> list[str]:
    """The columns that tell one attack curve from another."""
    return table.keys(*IDENTITY, "round", "seed")


def _check_curves(table: Table) -> None:
    if len(table) == 0:
        raise DataError(f"{table.source}: has no rows. Give a table with at least one row.")
    names = curve_keys(table)
    # A column of one value tells no curves apart, and most tables are of one task, victim, defense.
    varied = [column for name in names if ((column := table[name]) != column[0]).any()]
    codes = [np.unique(column, return_inverse=True)[1] for column in varied]
    order = np.lexsort([table["iteration"], *reversed(codes)])
    same = np.ones(len(order) - 1, dtype=bool)
    for code in codes:
        same &= code[order][1:] == code[order][:-1]
    again = same & (np.diff(table["iteration"][order]) == 0)
    if again.any():
        first, second = sorted(int(order[int(again.argmax()) + k]) for k in (0, 1))
        raise DataError(
            f"{place(table.source, second, 'iteration')}: the same iteration of the same curve as row {first + 1}. "
            f"Remove one, or tell them apart in one of: {', '.join(names)}."
        )
    falls = same & (np.diff(table["attack_compute"][order]) < 0)
    if falls.any():
        at = int(order[int(falls.argmax()) + 1])
        raise DataError(
            f"{place(table.source, at, 'attack_compute')}: less than at the iteration before. "
            "Give compute that is cumulative over iterations."
        )
