"""What became of each attacked example, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from harness.errors import DataError
from harness.records.read import Cell


@dataclass(frozen=True)
class Trajectories:
    """The attacked examples of one cell, E of them, over T steps (the full budget).

    Attributes:
        examples: ids, sorted.
        at_step: [E, T], whether this step's attack string succeeded.
        compute: [E, T], attack compute spent until and with this step, FLOPs, nominal convention; NaN where unknown.
        queries: [E, T], sequences that the attack had asked about until and with this step.
        unparseable: steps at which a judging model said something that is no verdict.
        failures: why strings were not judged, and how many steps each reason took.
    """

    examples: tuple[str, ...]
    at_step: NDArray[np.bool_]
    compute: NDArray[np.float64]
    queries: NDArray[np.float64]
    unparseable: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def so_far(self) -> NDArray[np.bool_]:
        """[E, T], whether this or any earlier step succeeded."""
        return np.logical_or.accumulate(self.at_step, axis=1)

    @cached_property
    def won(self) -> NDArray[np.float64]:
        """[T], examples broken so far."""
        won: NDArray[np.float64] = self.so_far.sum(axis=0, dtype=np.float64)
        return won

    @cached_property
    def alike(self) -> bool:
        """Whether every example spent the same compute at every step, as where searches never stop early."""
        return bool((self.compute == self.compute[:1]).all())

    def only(self, names: Sequence[str]) -> Trajectories:
        """Those of the examples ``names``, in that order; which of their steps were unparseable is not told."""
        row_of = {name: row for row, name in enumerate(self.examples)}
        rows = [row_of[name] for name in names]
        return Trajectories(tuple(names), self.at_step[rows], self.compute[rows], self.queries[rows])


def trajectories(cell: Cell) -> Trajectories:
    """The trajectories in ``cell``'s records.

    A search that ended before the full budget, by success or by itself, keeps its last verdict and its compute.

    Raises:
        DataError: a step is missing, there twice, or without numbers.
    """
    attacked = cell.examples(["example", "attacked"])
    names = sorted(attacked.filter(attacked.column("attacked")).column("example").to_pylist())  # null: not attacked
    table = cell.steps(["example", "step", "success", "unparseable", "attack_nominal", "queries", "failure"])
    where = f"{cell.folder / 'steps.parquet'}"
    if any(table.column(name).null_count for name in ("example", "step", "success", "queries")):
        raise DataError(f"{where}: an empty value in example, step, success or queries. {_mend(cell)}")
    row_of = {name: row for row, name in enumerate(names)}
    encoded = table.column("example").combine_chunks().dictionary_encode()
    try:
        rows_of_code = np.array([row_of[name] for name in encoded.dictionary.to_pylist()], dtype=np.int64)
    except KeyError as error:
        raise DataError(
            f"{where}: steps of example {error}, which examples.parquet does not list as attacked. {_mend(cell)}"
        ) from None
    step = table.column("step").to_numpy().astype(np.int64)
    cost = table.column("attack_nominal").to_numpy()  # null, an unknown amount, becomes NaN
    queries = table.column("queries").to_numpy()
    told = table.column("attack_nominal").drop_null().to_numpy()
    if len(step) and (step.min() < 1 or not np.isfinite(told).all() or (told < 0).any() or queries.min() < 0):
        raise DataError(f"{where}: a step below 1, or compute or queries negative or not finite. {_mend(cell)}")
    row = rows_of_code[encoded.indices.to_numpy()] if len(step) else np.empty(0, dtype=np.int64)
    budget = max(cell.record.attack_steps, int(step.max()) if len(step) else 0)
    if budget > 10**6 or len(names) * budget > 10**9:
        raise DataError(f"{where}: {budget} steps of {len(names)} examples is more than can be real. {_mend(cell)}")
    filled = _fill(cell, where, names, budget, row, step, table.column("success").to_numpy(), cost, queries)
    unparseable = int(pc.sum(table.column("unparseable")).as_py() or 0)
    return replace(filled, unparseable=unparseable, failures=_failures(table.column("failure")))


def _failures(column: pa.ChunkedArray) -> dict[str, int]:
    if column.null_count == len(column):
        return {}
    return {item["values"]: item["counts"] for item in pc.value_counts(column.drop_null()).to_pylist()}


def _fill(
    cell: Cell,
    where: str,
    names: list[str],
    budget: int,
    row: NDArray[np.int64],
    step: NDArray[np.int64],
    success: NDArray[np.bool_],
    cost: NDArray[np.float64],
    queries: NDArray[np.int64],
) -> Trajectories:
    shape = (len(names), budget)
    seen = np.bincount(row * budget + step - 1, minlength=shape[0] * shape[1]).reshape(shape)
    last = (seen > 0).sum(axis=1)
    # Steps 1 … last, each once: then and only then the counts are 1 up to `last` and 0 after.
    if (seen != (np.arange(budget) < last[:, None])).any():
        bad = names[int((seen != (np.arange(budget) < last[:, None])).any(axis=1).argmax())]
        raise DataError(f"{where}: the steps of example {bad!r} have a gap or come twice. {_mend(cell)}")
    at_step = np.zeros(shape, dtype=bool)
    at_step[row, step - 1] = success
    spent, asked = np.zeros(shape), np.zeros(shape)
    spent[row, step - 1] = cost
    asked[row, step - 1] = queries
    final = np.zeros(len(names), dtype=bool)
    begun = last > 0
    final[begun] = at_step[begun, last[begun] - 1]
    at_step |= final[:, None] & (np.arange(budget) >= last[:, None])
    return Trajectories(tuple(names), at_step, spent.cumsum(axis=1), asked.cumsum(axis=1))


def _mend(cell: Cell) -> str:
    return f"Remove the folder {cell.folder.name} and run the spec again: only this cell is redone."
