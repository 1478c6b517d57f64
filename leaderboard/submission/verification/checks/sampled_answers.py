"""Drawn answers of one cell against its manifest and the verdict of each step."""

from __future__ import annotations

import numpy as np

from harness.records.cell_manifest import CellRecord
from leaderboard.submission.verification.submitted_rows import SubmittedRows, WrongRows

_ROUNDING = 1 + 1e-9


def sampled_problems(record: CellRecord, rows: SubmittedRows) -> WrongRows:
    """What of the drawn answers cannot be; of a cell without such, that there are any."""
    drawn, failed = rows["drawn"].astype(np.int64), rows["has_failure"]
    yield "drawn answers that do not match each other, or are unlike any answer", rows.booleans("drawn_odd")
    yield (
        f"not {record.samples} drawn answers, as its manifest has it",
        ((drawn >= 0) if not record.samples else ~failed & (drawn != record.samples)),
    )
    if not record.samples:
        return
    yield "drawn answers to a string that was not judged", failed & (drawn >= 0)
    judged, broken = rows.floats("drawn_judged"), rows.floats("drawn_broken")
    counted = ~failed & (
        (np.maximum(rows.floats("draws"), 0) != judged) | ((judged > 0) & (rows.floats("broken_draws") != broken))
    )
    yield "counts of draws that are not those of its drawn answers", counted
    asks = record.threat.get("asks")
    first = asks if isinstance(asks, int) else 1
    yield (
        f"a verdict that is not that of the first {first} of its drawn answers"
        if first > 1
        else "a verdict that is not that of its first answer",
        ~failed & (rows.booleans("success") != (rows["drawn_first"] < first)),
    )
    spent = rows.floats("attack_nominal") + rows.floats("judge_nominal")
    yield (
        "drawn answers that took more than attack and judging together",
        ~failed & (rows.floats("drawn_nominal") > spent * _ROUNDING),
    )
