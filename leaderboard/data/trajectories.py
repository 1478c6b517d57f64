"""What became of each attacked example, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.errors import DataError
from harness.records.answer_state import NO_ANSWER
from harness.records.read import Cell
from leaderboard.arrays import Booleans, Floats, Integers

AsrKind = Literal["so_far", "at_step"]
"""Whether an example counts from its first success on, or at the steps whose own string succeeded."""
BudgetUnit = Literal["compute", "queries"]
"""What an attack's budget is counted in: FLOPs (nominal), or sequences asked about."""

UNKNOWN_LABEL = -1


@dataclass(frozen=True)
class Trajectories:
    """A trajectory is an attacked example's way through the steps of an attack. Those of one cell: E examples, T steps
    (the full budget). An example whose strings got no answer at all, or none that could be judged, tells nothing, and
    is none of them.

    Attributes:
        examples: ids, sorted.
        at_step: [E, T], whether this step's attack string succeeded.
        compute: [E, T], attack compute spent until and with this step, FLOPs, nominal convention; NaN where unknown.
        queries: [E, T], sequences that the attack had asked about until and with this step.
        labels: [E], the examples' own; `UNKNOWN_LABEL` where the answer is a text; None where nobody asked.
        targets: [E], the labels that the attacker wants; `UNKNOWN_LABEL` where records do not say.
        untold: [E, T], whether the victim gave neither an answer nor a refusal to this step's string, or an answer that
            could not be judged; None: at none.
        asked: steps at which the victim was asked about a string.
        missing: of them, those at which it gave neither an answer nor a refusal.
        unparseable: of them, those at which a judging model said something that is no verdict.
        left_out: examples whose strings got no verdict at all.
        failures: why strings were not judged, and how many steps each reason took.
    """

    examples: tuple[str, ...]
    at_step: Booleans
    compute: Floats
    queries: Floats
    labels: Integers | None = None
    targets: Integers | None = None
    untold: Booleans | None = None
    asked: int = 0
    missing: int = 0
    unparseable: int = 0
    left_out: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def so_far(self) -> Booleans:
        """[E, T], whether this or any earlier step succeeded."""
        return np.logical_or.accumulate(self.at_step, axis=1)

    @cached_property
    def broken(self) -> Floats:
        """[T], how many examples are broken so far."""
        broken: Floats = self.so_far.sum(axis=0, dtype=np.float64)
        return broken

    @cached_property
    def told(self) -> Integers:
        """[T], how many examples got a refusal, or an answer that could be judged, at this step."""
        examples, steps = self.at_step.shape
        return np.full(steps, examples) if self.untold is None else examples - self.untold.sum(axis=0)

    def spent(self, unit: BudgetUnit) -> Floats:
        """[E, T], `compute` or `queries`."""
        return self.compute if unit == "compute" else self.queries

    def subset(self, examples: Sequence[str]) -> Trajectories:
        """Those of ``examples``, in that order; without counts of steps."""
        index_of = {example: index for index, example in enumerate(self.examples)}
        rows = [index_of[example] for example in examples]
        labels, targets = (None if part is None else part[rows] for part in (self.labels, self.targets))
        untold = None if self.untold is None else self.untold[rows]
        return Trajectories(
            tuple(examples), self.at_step[rows], self.compute[rows], self.queries[rows], labels, targets, untold
        )


TrajectoriesBySeed = Mapping[int, Trajectories]
"""Of one attack on one victim and defense: seed to the trajectories of its cell."""


def common_examples(attacks: Sequence[TrajectoriesBySeed]) -> list[list[Trajectories]]:
    """Per seed that all ``attacks`` have, each one's trajectories of the examples that all of them attacked, in the
    same order; seeds without such an example are left out.
    """
    by_seed = []
    for seed in sorted(set.intersection(*(set(attack) for attack in attacks))):
        of_seed = [attack[seed] for attack in attacks]
        examples = sorted(set.intersection(*(set(trajectories.examples) for trajectories in of_seed)))
        if examples and all(trajectories.at_step.shape[1] for trajectories in of_seed):
            by_seed.append([trajectories.subset(examples) for trajectories in of_seed])
    return by_seed


def read_trajectories(cell: Cell) -> Trajectories:
    """The trajectories in ``cell``'s records.

    A search that ended before the full budget, by success or by itself, keeps its last verdict and its compute.

    Raises:
        DataError: a step is missing, there twice, or without numbers.
    """
    listed = cell.examples(["example", "attacked", "label", "target"])
    attacked = listed.filter(listed.column("attacked")).sort_by("example")  # null: not attacked
    examples = attacked.column("example").to_pylist()
    names = ["example", "step", "success", "unparseable", "answer_state", "attack_nominal", "queries", "failure"]
    steps = cell.steps(names)
    source = f"{cell.folder / 'steps.parquet'}"
    if any(steps.column(name).null_count for name in ("example", "step", "success", "queries")):
        raise DataError(f"{source}: an empty value in example, step, success or queries. {_how_to_mend(cell)}")
    step = steps.column("step").to_numpy().astype(np.int64)
    compute = steps.column("attack_nominal").to_numpy()  # null, an unknown amount, becomes NaN
    queries = steps.column("queries").to_numpy()
    known_compute = steps.column("attack_nominal").drop_null().to_numpy()
    row = _example_rows(cell, source, examples, steps.column("example"))
    if len(step) and (
        step.min() < 1 or not np.isfinite(known_compute).all() or (known_compute < 0).any() or queries.min() < 0
    ):
        raise DataError(f"{source}: a step below 1, or compute or queries negative or not finite. {_how_to_mend(cell)}")
    budget = max(cell.record.attack_steps, int(step.max()) if len(step) else 0)
    if budget > 10**6 or len(examples) * budget > 10**9:
        raise DataError(
            f"{source}: {budget} steps of {len(examples)} examples is more than can be real. {_how_to_mend(cell)}"
        )
    success = steps.column("success").to_numpy()
    labels, targets = (_labels(attacked.column(name)) for name in ("label", "target"))
    if len(cell.record.labels) == 2 or (not cell.record.labels and labels.max(initial=0) <= 1):
        # Older records do not say; of two labels the attacker wants the other.
        targets = np.where((targets == UNKNOWN_LABEL) & (labels != UNKNOWN_LABEL), 1 - labels, targets)
    asked = pc.is_null(steps.column("failure")).to_numpy()
    missing = asked & pc.is_in(steps.column("answer_state"), pa.array(sorted(NO_ANSWER))).to_numpy()
    unparseable = asked & steps.column("unparseable").fill_null(False).to_numpy()
    untold = missing | unparseable
    trajectories = _arrange(cell, source, examples, budget, row, step, success, untold, compute, queries)
    trajectories = replace(trajectories, labels=labels, targets=targets)
    silent = np.setdiff1d(row[untold], row[asked & ~untold])  # examples
    if len(silent):
        trajectories = trajectories.subset(np.delete(examples, silent).tolist())
    return replace(
        trajectories,
        asked=int(asked.sum()),
        missing=int(missing.sum()),
        unparseable=int(unparseable.sum()),
        left_out=len(silent),
        failures=_count_failures(steps.column("failure")),
    )


def _labels(column: pa.ChunkedArray) -> Integers:
    labels: Integers = column.fill_null(UNKNOWN_LABEL).to_numpy().astype(np.int64)
    return labels


def _example_rows(cell: Cell, source: str, examples: list[str], column: pa.ChunkedArray) -> Integers:
    """Of each step the index of its example in ``examples``."""
    index_of = {example: index for index, example in enumerate(examples)}
    encoded = column.combine_chunks().dictionary_encode()
    try:
        index_of_code = np.array([index_of[example] for example in encoded.dictionary.to_pylist()], dtype=np.int64)
    except KeyError as error:
        raise DataError(
            f"{source}: steps of example {error}, which examples.parquet does not list as attacked. "
            f"{_how_to_mend(cell)}"
        ) from None
    return index_of_code[encoded.indices.to_numpy()] if len(column) else np.empty(0, dtype=np.int64)


def _count_failures(reasons: pa.ChunkedArray) -> dict[str, int]:
    if reasons.null_count == len(reasons):
        return {}
    return {item["values"]: item["counts"] for item in pc.value_counts(reasons.drop_null()).to_pylist()}


def _arrange(
    cell: Cell,
    source: str,
    examples: list[str],
    budget: int,
    row: Integers,
    step: Integers,
    success: Booleans,
    untold: Booleans,
    compute: Floats,
    queries: Integers,
) -> Trajectories:
    """The steps as matrices of examples × steps; ``row`` and ``step`` say where each belongs."""
    shape = (len(examples), budget)
    counts = np.bincount(row * budget + step - 1, minlength=shape[0] * shape[1]).reshape(shape)
    last = (counts > 0).sum(axis=1)
    # Steps 1 … last, each once: then and only then the counts are 1 up to `last` and 0 after.
    misplaced = counts != (np.arange(budget) < last[:, None])
    if misplaced.any():
        example = examples[int(misplaced.any(axis=1).argmax())]
        raise DataError(f"{source}: the steps of example {example!r} have a gap or come twice. {_how_to_mend(cell)}")
    at_step, untold = (_kept_to_the_end(shape, row, step, last, values) for values in (success, untold))
    compute_at_step, queries_at_step = np.zeros(shape), np.zeros(shape)
    compute_at_step[row, step - 1] = compute
    queries_at_step[row, step - 1] = queries
    return Trajectories(
        tuple(examples),
        at_step,
        compute_at_step.cumsum(axis=1),
        queries_at_step.cumsum(axis=1),
        untold=untold if untold.any() else None,
    )


def _kept_to_the_end(
    shape: tuple[int, int], row: Integers, step: Integers, last: Integers, values: Booleans
) -> Booleans:
    """What was found at each step, [E, T]; after an example's ``last`` step, what was found there."""
    found = np.zeros(shape, dtype=bool)
    found[row, step - 1] = values
    at_last = np.zeros(shape[0], dtype=bool)
    started = last > 0
    at_last[started] = found[started, last[started] - 1]
    kept: Booleans = found | (at_last[:, None] & (np.arange(shape[1]) >= last[:, None]))
    return kept


def _how_to_mend(cell: Cell) -> str:
    return f"Remove the folder {cell.folder.name} and run the spec again: only this cell is redone."
