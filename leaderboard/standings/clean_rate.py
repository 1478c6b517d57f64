"""Clean accuracy over seeds, which are often asked the same examples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.records.answer_state import NO_ANSWER
from harness.records.exclusion import NOT_JUDGED
from harness.records.read import Cell
from leaderboard.arrays import Booleans
from leaderboard.fit.pooled_rates import Rate, pooled_rate, shared_example_variance


def clean_rate(cells: Sequence[Cell]) -> Rate | None:
    """The share of clean examples answered rightly (in text: without a success of the attacker); ``cells``: one of each
    seed. Prompts that got no answer, or one that could not be judged, count neither way. None when none was asked, as
    where all are too long for the context. Which examples seeds have in common is known of those that records list.
    """
    asked = [cell for cell in cells if cell.record.n_clean_told > cell.record.n_too_long]
    correct, trials = [cell.record.n_clean_correct for cell in asked], [cell.record.n_clean_told for cell in asked]
    if len(asked) < 2:
        return pooled_rate(correct, trials)
    listed = [(names, right) for names, right in map(_clean_outcomes, asked) if names]
    shared = 0.0
    if listed:
        variance = shared_example_variance([names for names, _ in listed], [right for _, right in listed])
        share_listed = sum(len(names) for names, _ in listed) / sum(trials)
        shared = float(np.max(variance)) * share_listed
    return pooled_rate(correct, trials, shared)


def _clean_outcomes(cell: Cell) -> tuple[list[str], Booleans]:
    """Names of the listed examples, and whether each was answered rightly, [E, 1]; an example that is not attacked for
    another reason counts as right where its label was.
    """
    listed = cell.examples(["example", "label", "predicted", "attacked", "answer_state", "excluded"]).to_pylist()
    rows = [row for row in listed if row["answer_state"] not in NO_ANSWER and row["excluded"] != NOT_JUDGED]
    right = [
        bool(row["attacked"]) or (row["predicted"] is not None and row["predicted"] == row["label"]) for row in rows
    ]
    return [row["example"] for row in rows], np.array(right, dtype=np.bool_).reshape(-1, 1)
