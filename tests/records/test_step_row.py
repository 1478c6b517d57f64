"""A step's row is the table's columns, in memory and on disk."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, strategies as st

from harness.records.schema import ADDED, STEPS
from harness.records.step_row import COMPUTE, NAMES, SAMPLED, StepRow
from tests.records.rows import step_row

# Record format 2: what is written here can be read by every version that reads it.
COLUMNS = {
    "example": "string",
    "step": "int32",
    "success": "bool",
    "score": "double",
    "unparseable": "bool",
    "judge_output": "list<item: string>",
    "loss": "double",
    "predicted": "int32",
    "answer": "string",
    "answer_state": "string",
    "utility": "bool",
    "attack_loss": "double",
    "attack_text": "string",
    "attack_tokens": "list<item: int32>",
    "failure": "string",
    "queries": "int64",
    "attack_nominal": "double",
    "attack_executed": "double",
    "judge_nominal": "double",
    "judge_executed": "double",
    "defense_nominal": "double",
    "defense_executed": "double",
    "draws": "int32",
    "broken_draws": "int32",
    "earlier": "list<item: string>",
    "seconds": "double",
    "sampled_answer": "list<item: string>",
    "sampled_state": "list<item: string>",
    "sampled_success": "list<item: bool>",
    "sampled_score": "list<item: double>",
    "sampled_unparseable": "list<item: bool>",
    "sampled_nominal": "list<item: double>",
}
amounts = st.one_of(st.just(math.nan), st.floats(0, 1e30))


def test_the_columns_are_those_of_the_format() -> None:
    assert {field.name: str(field.type) for field in STEPS} == COLUMNS
    assert list(COLUMNS) == STEPS.names == list(NAMES)
    assert all(field.nullable for field in STEPS)
    assert {name for name in COLUMNS if name.endswith(("nominal", "executed"))} - set(SAMPLED) == set(COMPUTE)


@given(st.fixed_dictionaries(dict.fromkeys(COMPUTE, amounts)))
def test_there_and_back(compute: dict[str, float]) -> None:
    row = step_row(loss=math.inf, **compute)
    written = row.to_record()
    assert list(written) == [name for name in NAMES if name not in SAMPLED]
    assert {name for name in COMPUTE if written[name] is None} == {n for n in COMPUTE if math.isnan(compute[n])}
    assert written["loss"] == math.inf, "only compute is looked at"
    again = StepRow.from_record(json.loads(json.dumps(written)))
    assert again.to_record() == written
    assert all(math.isnan(getattr(again, name)) == math.isnan(compute[name]) for name in COMPUTE)


def test_a_row_of_before_lacks_what_was_added_since() -> None:
    old = {name: value for name, value in step_row().to_record().items() if name not in ADDED}
    assert StepRow.from_record(old) == step_row()


def test_drawn_answers_stand_in_the_row() -> None:
    drawn = {"sampled_answer": ["yes", None], "sampled_nominal": [None, 2.0], "sampled_success": [True, False]}
    written = step_row(**drawn).to_record()
    assert {name: written[name] for name in SAMPLED if name in written} == drawn
    assert StepRow.from_record(json.loads(json.dumps(written))) == step_row(**drawn)


@pytest.mark.parametrize("name", ["example", "queries", "judge_nominal"])
def test_a_missing_column_is_noticed(name: str) -> None:
    record: dict[str, Any] = step_row().to_record()
    del record[name]
    with pytest.raises(TypeError, match=name):
        StepRow.from_record(record)


def test_a_column_of_another_format_is_noticed() -> None:
    with pytest.raises(TypeError, match="colour"):
        StepRow.from_record(step_row().to_record() | {"colour": "red"})
