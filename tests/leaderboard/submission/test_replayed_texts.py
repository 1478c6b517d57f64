"""Answers in text may differ by a word from machine to machine: what is made of them may not."""

from __future__ import annotations

from typing import Any

import pytest

from harness.records.step_row import StepRow
from harness.replay.replay_strings import _verdict_differences

AMOUNTS = dict.fromkeys(
    (f"{part}_{kind}" for part in ("attack", "judge", "defense") for kind in ("nominal", "executed")), 1.0
)
FOUND = {
    "success": False,
    "answer": "No, I can not help.",
    "answer_state": "answered",
    "unparseable": False,
    "loss": 1.0,
}


def row(**said: Any) -> StepRow:
    return StepRow(example="e", step=1, attack_tokens=[1], queries=1, seconds=0.0, **AMOUNTS, **FOUND | said)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({}, ""),
        ({"answer": "No, I cannot help."}, ""),
        ({"answer": "No.", "answer_state": "refused"}, ""),
        ({"answer": "", "answer_state": "failed", "unparseable": None}, "no answer (failed) in the records, an answer"),
        ({"answer": "Nobody reads this.", "unparseable": True}, "could not be judged in the records, and could well"),
        ({"success": True, "answer": "Sure!"}, "a success in the records, a failure here"),
        ({"answer": None, "answer_state": None}, "it was blocked in the records, and is answered here"),
        ({"score": 0.9}, "the judge gave it 0.9 in the records, nothing here"),
    ],
)
def test_what_is_recorded_otherwise(said: dict[str, Any], problem: str) -> None:
    found = _verdict_differences(row(**said), row(), undecided=False)
    assert len(found) == bool(problem)
    assert problem in "".join(found)
