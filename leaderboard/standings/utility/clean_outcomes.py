"""What a cell lists of its clean examples, and the loss between two cells that were asked the same ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from harness.records.answer_state import NO_ANSWER
from harness.records.exclusion import (
    ALREADY_BROKEN,
    BLOCKED,
    NOT_ATTACKED,
    NOT_ATTACKED_UNJUDGED,
    NOT_JUDGED,
    is_too_long,
)
from harness.records.read import Cell
from leaderboard.fit.compared.paired_difference import PairedOutcomes

_COLUMNS = ("example", "label", "predicted", "attacked", "answer_state", "excluded")
_IN_TEXT = {ALREADY_BROKEN: False, BLOCKED: False, NOT_ATTACKED: True, NOT_ATTACKED_UNJUDGED: True}
"""Of benign prompts: whether one that was not attacked for a reason was answered."""


def told(cell: Cell) -> bool:
    """Whether any clean example has an answer that counts."""
    return cell.record.n_clean_told > cell.record.n_too_long


class CleanOutcomes:
    """Reads what cells list of their clean examples, each cell once."""

    def __init__(self) -> None:
        self._of_cell: dict[Path, Mapping[str, bool]] = {}

    def paired(self, undefended: Cell, defended: Cell) -> PairedOutcomes:
        """Of two cells of one seed that have clean examples with an answer: undefended first."""
        first, second = self._of(undefended), self._of(defended)
        names = sorted(first.keys() & second.keys())
        records = undefended.record, defended.record
        return PairedOutcomes(
            successes=(records[0].n_clean_correct, records[1].n_clean_correct),
            trials=(records[0].n_clean_told, records[1].n_clean_told),
            names=names,
            first=np.array([first[name] for name in names], dtype=np.bool_),
            second=np.array([second[name] for name in names], dtype=np.bool_),
        )

    def _of(self, cell: Cell) -> Mapping[str, bool]:
        if cell.folder not in self._of_cell:
            self._of_cell[cell.folder] = _outcomes(cell)
        return self._of_cell[cell.folder]


def _outcomes(cell: Cell) -> Mapping[str, bool]:
    """By listed example whether it was answered rightly; benign prompts in text: whether they were answered."""
    text = cell.record.task_kind == "text"
    found: dict[str, bool] = {}
    for row in cell.examples(_COLUMNS).to_pylist():
        reason = row["excluded"]
        if row["answer_state"] in NO_ANSWER or reason == NOT_JUDGED:
            continue
        if row["attacked"] or (reason is not None and is_too_long(reason)):
            found[row["example"]] = bool(row["attacked"])
        elif not text:
            found[row["example"]] = row["predicted"] is not None and row["predicted"] == row["label"]
        elif reason in _IN_TEXT:
            found[row["example"]] = _IN_TEXT[reason]
    return found
