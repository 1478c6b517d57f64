"""What a record's diagnostics say of the worst case, against the steps that it follows from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from harness.records.cell_manifest import CellRecord
from leaderboard.submission.verification.submitted_rows import SubmittedRows

_ROUNDING = 1e-6  # of an amount: sums are made in another order


def diagnostics_problems(record: CellRecord, rows: SubmittedRows) -> Iterator[str]:
    """What of the worst case does not follow from a cell's steps (see ``docs/defenses/README.md``)."""
    facts = record.defense_facts
    stated = [] if facts is None else facts.diagnostics.get("worst_case") or []
    clean = record.clean_accuracy
    if not stated or clean is None:
        return
    accuracy, flops = _worst_case(rows, clean)
    for point in stated:
        step = point.get("step") if isinstance(point, Mapping) else None
        if type(step) is not int or not 0 <= step < len(accuracy):
            yield f"its diagnostics name a step {step!a:.80}, and its search has {len(accuracy) - 1}"
            return
        should = float(accuracy[step])
        if not _is_near(point.get("accuracy"), should):
            yield (
                f"its diagnostics say that an accuracy of {point.get('accuracy')!a:.80} is left after {step} steps; by "
                f"its steps it is {should:.4g}"
            )
            return
        spent = None if np.isnan(flops[step]) else float(flops[step])
        if not _is_near(point.get("flops"), spent):
            yield (
                f"its diagnostics say that {step} steps took {point.get('flops')!a:.80} FLOPs per example; by its "
                f"steps it is {'unknown' if spent is None else f'{spent:.4g}'}"
            )
            return


def _worst_case(rows: SubmittedRows, clean: float) -> tuple[Any, Any]:
    """Accuracy left, and FLOPs per example (NaN where unknown), after each number of steps from 0 on."""
    asked = ~rows["has_failure"]
    untold = rows.booleans("missing") | rows.booleans("unparseable")
    told, silent = set(rows.example[asked & ~untold].tolist()), set(rows.example[asked & untold].tolist())
    counted = ~np.isin(rows.example, sorted(silent - told))
    examples = rows.example[counted]
    step = rows["step"][counted].astype(np.int64)
    attacked = max(1, len(np.unique(examples)))
    steps = int(step.max(initial=0))
    spent = np.zeros(steps + 1)
    np.add.at(spent, step, rows.floats("attack_nominal")[counted])
    won = rows.booleans("success")[counted]
    first = np.full(len(rows.names), steps + 1)
    np.minimum.at(first, examples[won], step[won])
    broken = np.bincount(first[first <= steps], minlength=steps + 1).cumsum()
    return clean * (1 - broken / attacked), spent.cumsum() / attacked


def _is_near(stated: Any, should: float | None) -> bool:
    if stated is None or should is None:
        return stated is None and should is None
    return isinstance(stated, int | float) and bool(abs(stated - should) <= _ROUNDING * max(1.0, abs(should)))
