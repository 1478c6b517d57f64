"""What a cell lists of its clean examples, and the loss between two cells that were asked the same ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from leaderboard.fit.compared.paired_difference import Rest, SeedPairs

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

    def pairs(self, defended: Cell, undefended: Cell) -> SeedPairs:
        """Of two cells of one seed: the defended as the old one, so that a difference is a loss. Examples that no row
        lists are known by number.
        """
        old, new = self._of(defended), self._of(undefended)
        names = sorted(old.keys() & new.keys())
        return SeedPairs(
            tuple(names),
            np.array([old[name] for name in names], dtype=np.bool_),
            np.array([new[name] for name in names], dtype=np.bool_),
            Rest(*_unlisted(defended, old, names), *_unlisted(undefended, new, names)),
        )

    def _of(self, cell: Cell) -> Mapping[str, bool]:
        if cell.folder not in self._of_cell:
            self._of_cell[cell.folder] = _outcomes(cell)
        return self._of_cell[cell.folder]


def _unlisted(cell: Cell, known: Mapping[str, bool], names: Sequence[str]) -> tuple[int, int]:
    """Right answers and trials of the examples that are not among the names."""
    right, trials = cell.record.n_clean_correct, cell.record.n_clean_told
    return right - sum(known[name] for name in names), trials - len(names)


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
