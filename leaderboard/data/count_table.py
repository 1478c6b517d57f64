"""Counts of success per attack curve and iteration: the table form that files have, and that runs are brought into."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, cast

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from leaderboard.arrays import Booleans

Column = NDArray[Any]

TEXT = ("task", "family", "attack")
WHOLE = ("n_params", "seed", "iteration", "trials", "successes")
REAL = ("attack_compute",)
REQUIRED = (*TEXT, *WHOLE, *REAL)
OPTIONAL_TEXT = ("victim", "threat", "defense")
OPTIONAL_WHOLE = ("round", "n_params_non_embedding")
OPTIONAL_REAL = ("defense_compute", "inference_compute")
KNOWN = (*REQUIRED, *OPTIONAL_TEXT, *OPTIONAL_WHOLE, *OPTIONAL_REAL)
NUMBERS = (*WHOLE, *REAL, *OPTIONAL_WHOLE, *OPTIONAL_REAL)
GROUP = ("task", "family", "attack", "n_params", *OPTIONAL_TEXT)  # the columns that a fit is of, less the round
_MINIMUM = {"n_params": 1, "n_params_non_embedding": 1, "trials": 1}  # all other numbers: at least 0, the seed any
UNKNOWN_SIZE = 2**62  # n_params of a victim of unknown size: sorts last, and no file can say it


class CurveGroup(TypedDict, total=False):
    """What a group of attack curves has in common; a key is missing where the table has no such column, or where the
    group differs in it. ``n_params`` is None where the victim's size is unknown.
    """

    task: str
    family: str
    attack: str
    n_params: int | None
    victim: str
    threat: str
    defense: str
    round: int
    seed: int


@dataclass(frozen=True)
class CountTable:
    """One row per attack curve (a victim, defense, round and seed under an attack) and iteration.

    Columns: task, family, attack (text); n_params, seed, iteration, trials, successes (whole numbers); attack_compute
    (cumulative over iterations, mean per attacked example, as a fraction of the victim's pretraining or reference
    compute); optionally victim, threat, defense (text), round, defense_compute (as the same fraction), and
    inference_compute (the defender's compute per answer, as a multiple of an undefended one), n_params_non_embedding
    (whole; of files alone: records tell it themselves). From records compute may
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

    def available(self, *names: str) -> list[str]:
        """Those of ``names`` that are columns of this table."""
        return [name for name in names if name in self.columns]

    def take(self, indices: Sequence[int] | Column) -> CountTable:
        """The rows at ``indices``."""
        return CountTable(self.source, {name: column[indices] for name, column in self.columns.items()})

    def groups(self, names: Sequence[str]) -> Iterator[tuple[CurveGroup, CountTable]]:
        """The rows that agree in all columns ``names``, group by group in sorted order, each with what it agrees in."""
        indices: dict[tuple[Any, ...], list[int]] = {}
        for index, values in enumerate(zip(*(self.columns[name].tolist() for name in names), strict=True)):
            indices.setdefault(values, []).append(index)
        for values in sorted(indices):
            group = dict(zip(names, values, strict=True))
            if group.get("n_params") == UNKNOWN_SIZE:
                group["n_params"] = None
            yield cast(CurveGroup, group), self.take(indices[values])


def make_count_table(source: str, columns: Mapping[str, Column]) -> CountTable:
    """A table of typed columns, after a check of every value. Raises `DataError` with source, row and column."""
    for name in REQUIRED:
        if name not in columns:
            raise DataError(f"{source}: column {name!r} is missing. Needed: {', '.join(REQUIRED)}.")
    table = CountTable(source, {name: columns[name] for name in KNOWN if name in columns})
    for name, column in table.columns.items():
        if column.dtype == object or name == "seed":
            continue
        minimum = _MINIMUM.get(name, 0)
        _refuse(table, name, np.isinf(column), "is not a finite number: give a number, or leave the row out")
        _refuse(table, name, column < minimum, f"is below {minimum}: correct it, or leave the row out")
    too_many = table["successes"] > table["trials"]
    _refuse(table, "successes", too_many, "is more than the trials of its row: correct one of them")
    _check_curves(table)
    return table


def _refuse(table: CountTable, name: str, invalid: Booleans, reason: str) -> None:
    if invalid.any():
        index = int(invalid.argmax())
        raise DataError(f"{value_location(table.source, index, name)}: {table[name][index]} {reason}.")


def value_location(source: str, index: int, column: str) -> str:
    """How messages name a value: ``index`` counts rows from 0, people and this text from 1."""
    return f"{source}: row {index + 1} (not counting the header), column {column!r}"


def _check_curves(table: CountTable) -> None:
    """Each iteration of a curve once, the same trials at each, and compute that is cumulative."""
    if len(table) == 0:
        raise DataError(f"{table.source}: has no rows. Give a table with at least one row.")
    names = table.available(*GROUP, "round", "seed")
    # A column of one value tells no curves apart, and most tables are of one task, victim, defense.
    varied = [column for name in names if ((column := table[name]) != column[0]).any()]
    codes = [np.unique(column, return_inverse=True)[1] for column in varied]
    order = np.lexsort([table["iteration"], *reversed(codes)])
    same_curve = np.ones(len(order) - 1, dtype=bool)
    for code in codes:
        same_curve &= code[order][1:] == code[order][:-1]
    repeated = same_curve & (np.diff(table["iteration"][order]) == 0)
    if repeated.any():
        first, second = sorted(int(order[int(repeated.argmax()) + k]) for k in (0, 1))
        raise DataError(
            f"{value_location(table.source, second, 'iteration')}: the same iteration of the same curve as row "
            f"{first + 1}. Remove one, or tell them apart in one of: {', '.join(names)}."
        )
    changed = same_curve & (np.diff(table["trials"][order]) != 0)
    if changed.any():
        first, second = (int(order[int(changed.argmax()) + k]) for k in (0, 1))
        one, other = table["trials"][first], table["trials"][second]
        raise DataError(
            f"{value_location(table.source, second, 'trials')}: {other}, and {one} in row {first + 1} of the same "
            "curve. The trials of a curve are the examples that were attacked: give the same number at every "
            f"iteration, or tell the curves apart in one of: {', '.join(names)}."
        )
    decreasing = same_curve & (np.diff(table["attack_compute"][order]) < 0)
    if decreasing.any():
        index = int(order[int(decreasing.argmax()) + 1])
        raise DataError(
            f"{value_location(table.source, index, 'attack_compute')}: less than at the iteration before. "
            "Give compute that is cumulative over iterations."
        )
