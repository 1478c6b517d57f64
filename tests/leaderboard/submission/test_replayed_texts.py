"""Answers in text may differ by a word from machine to machine: what is made of them may not."""

from __future__ import annotations

from typing import Any

import pytest

from harness.records.cell_manifest import CellRecord, Compute, DefenseFacts
from harness.records.step_row import StepRow
from harness.replay.facts import _differences
from harness.replay.replay_strings import _judging_differs, _verdict_differences

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
    return StepRow(example="e", step=1, attack_tokens=[1], queries=1, seconds=0.0, **(AMOUNTS | FOUND | said))


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


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("over_refused", 0, "defense_facts.over_refused is 0 in the records, 3 here"),
        ("benign_clean", 9, "defense_facts.benign_clean is 9 in the records, 4 here"),
        ("per_query", Compute(nominal=0.0, executed=0.0), "defense_facts.per_query.nominal is 0.0"),
        ("per_query", Compute(nominal=80.0, executed=0.0), ""),
    ],
)
def test_what_a_defense_refuses(field: str, value: Any, problem: str) -> None:
    here = DefenseFacts(benign_clean=4, over_refused=3, per_query=Compute(nominal=100.0, executed=1.0))
    recorded = here.model_copy(update={field: value})
    found = list(_differences("defense_facts", recorded, here, loose=("per_query", "per_answer")))
    assert len(found) == bool(problem)
    assert problem in "".join(found)


@pytest.mark.parametrize(
    ("said", "models", "differs"),
    [
        ({}, [], False),
        ({"judge_nominal": 3.0}, [], True),
        ({"judge_nominal": 3.0, "answer": "No, I cannot help."}, [], False),  # of another length, perhaps
        ({"judge_nominal": 1.4}, ["judge:judge"], False),
        ({"judge_nominal": 3.0}, ["judge:judge"], True),
        ({"judge_nominal": 1.4}, ["attacker"], True),
    ],
)
def test_what_judging_a_text_took(said: dict[str, Any], models: list[str], differs: bool) -> None:
    record = CellRecord.model_construct(auxiliary=dict.fromkeys(models), answers=None)
    drawn = {"draws": 1, "broken_draws": 0}
    assert _judging_differs(record, row(**drawn | said), row(**drawn)) is differs
