"""What the line of a finished cell says."""

from __future__ import annotations

import pytest

from harness.cli.console.progress_views import _cell_line
from harness.records.exclusion import ALREADY_BROKEN, BLOCKED, NOT_JUDGED
from harness.records.read import read_run
from harness.records.untold import untold_text
from harness.run.cell.result import CellResult
from harness.run.reporter import CellEnd
from tests.leaderboard.fake_run import FakeCell, write_run
from tests.records.rows import step_row


@pytest.mark.parametrize("benign", [False, True])
def test_prompts_that_end_as_the_attacker_wants_count_with_and_without_an_attack(benign: bool, tmp_path) -> None:
    made = FakeCell(task_kind="text", examples=2)
    (cell,) = read_run(write_run(tmp_path / "run", [made]))
    reasons = [ALREADY_BROKEN] * 8 + [BLOCKED, NOT_JUDGED, None, None, None]
    rows = [
        {"example": str(at), "attacked": why is None, "excluded": why, "benign": benign}
        for at, why in enumerate(reasons)
    ]
    mixed = [*rows, {"example": "other", "attacked": False, "excluded": ALREADY_BROKEN, "benign": True}]
    steps = [
        step_row(example="10", step=1, success=False),
        step_row(example="10", step=2, success=True),
        step_row(example="11", step=1, success=False, answer="hm", unparseable=True),
        step_row(example="12", step=1, success=False),
    ]
    result = CellResult(cell.record, mixed, steps)
    words = "10 of 12 harmless prompts refused" if benign else "9 of 11 harmful prompts answered"
    assert result.answered == f"{words} with or without an attack"
    assert result.asr is not None
    assert result.clean_measure == ("answered when clean" if benign else "clean accuracy")
    alone = CellResult(cell.record, rows, steps)
    assert alone.clean_measure == ("answered when clean" if benign else "refused when clean")
    labels = CellResult(cell.record.model_copy(update={"task_kind": "labels"}), mixed, steps)
    assert (labels.answered, labels.clean_measure) == ("", "clean accuracy")


def test_a_line_says_first_what_is_told_of_all_prompts_and_what_has_no_verdict() -> None:
    untold = untold_text({"n_clean": 9, "n_clean_unparseable": 9, "n_asked": 4, "n_missing": 1})
    assert untold == "9 of 9 clean answers not judged, 1 of 4 attacked prompts without an answer"
    assert _cell_line(CellEnd("a cell", untold=untold)) == f"done    a cell: no ASR, {untold}"
    answered = "9 of 10 harmful prompts answered with or without an attack"
    end = CellEnd("a cell", 0.0, 0.1, answered=answered, clean_measure="refused when clean")
    assert _cell_line(end) == f"done    a cell: {answered}, ASR 0%, refused when clean 10.0%"
