"""The search itself, from a plan to the strongest candidate; what it has tried is kept in a journal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import RunError
from harness.flops import CONVENTION
from harness.records.cell_manifest import TuningRecord
from harness.records.journal import Journal
from harness.run.prepare.preparer import Preparer
from harness.run.tuning.bench import TuningBench, ready_cell
from harness.run.tuning.dimension import Dimension
from harness.run.tuning.plan import Plan, Wanted, paths_from_spec
from harness.run.tuning.trial import Trial, best_trial
from harness.run.tuning.trials import search
from harness.spec.load import LoadedSpec


@dataclass(frozen=True)
class Tuned:
    """A finished search.

    Attributes:
        best: the strongest candidate.
        first: the entry as the spec has it, where it was tried.
        record: what goes into the spec besides the parameters.
        why: it ended.
    """

    best: Trial
    first: Trial | None
    trials: Sequence[Trial]
    record: TuningRecord
    why: str


def tune(
    plan: Plan,
    wanted: Wanted,
    source: LoadedSpec,
    preparer: Preparer,
    path: Path,
    seen: Callable[[Trial], object],
    ready: Callable[[], object] = lambda: None,
) -> Tuned:
    """Search, going on where the journal ends.

    Args:
        path: of the journal.
        seen: told each trial when it is finished, those of the journal left out.
        ready: called when all that is attacked is made, before the first candidate.

    Raises:
        RunError: the journal is damaged, or the budget does not do.
        HarnessError: a cell cannot be made ready.
    """
    found = (ready_cell(cell, preparer, plan.examples, wanted.seed) for cell in plan.cells)
    cells = [cell for cell in found if cell is not None]
    if not cells:
        raise RunError("no cell is left to tune on: the defense's budget ended before the rounds that the spec names")
    ready()
    bench = TuningBench(cells, plan.attack, plan.per_example, plan.key, preparer)
    with Journal(path) as journal, paths_from_spec(source):
        clean, before = _read(journal, path, plan.space)
        if clean is None:
            clean = sum(cell.clean_flops for cell in cells)
            journal.append({"search": plan.key, "clean_flops": clean, "accounting": CONVENTION})

        def keep(trial: Trial) -> None:
            journal.append(trial.to_json())
            seen(trial)

        ended = search(bench, plan.space, plan.first, wanted.flops, clean, wanted.seed, before, keep)
    best = best_trial(ended.trials)
    assert best is not None  # `search` raises where there is none
    earlier = plan.entry.tuned.flops if plan.entry.tuned else 0.0  # it began where that search ended
    record = TuningRecord(
        flops=ended.spent + earlier,
        per_example=plan.per_example,
        examples=sum(len(cell.problems) for cell in cells),
        trials=sum(trial.flops > 0 for trial in ended.trials),
        key=plan.key,
    )
    first = ended.trials[0] if plan.first is not None else None
    return Tuned(best, first, ended.trials, record, ended.why)


def _read(journal: Journal, path: Path, space: Sequence[Dimension]) -> tuple[float | None, list[Trial]]:
    """What a search that was stopped has spent before its first candidate, and its candidates."""
    if not journal.entries:
        return None, []
    try:
        clean = _flops(journal.entries[0]["clean_flops"])
        trials = [Trial.from_json(entry) for entry in journal.entries[1:]]
        for number, trial in enumerate(trials):
            _check_trial(trial, number, space)
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path}: damaged ({type(error).__name__}: {error}); delete it to start again") from None
    return clean, trials


def _check_trial(trial: Trial, number: int, space: Sequence[Dimension]) -> None:
    """Raise ValueError where this is not the trial of this number in this space."""
    if trial.number != number:
        raise ValueError(f"candidate {number} is missing")
    _flops(trial.flops)
    for dimension in space:
        if dimension.name not in trial.values:
            raise ValueError(f"candidate {number} has no {dimension.name}")
        if trial.values[dimension.name] not in dimension:
            raise ValueError(f"candidate {number}: {trial.values[dimension.name]!r} is not in {dimension}")


def _flops(amount: Any) -> float:
    """An amount of compute. Raises ValueError or TypeError where it is none."""
    if not 0 <= float(amount) < math.inf:
        raise ValueError(f"{amount} FLOPs")
    return float(amount)
