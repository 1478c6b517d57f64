"""What is written of a cell is what is read, and a file that is not of the format is named with its fix."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from harness.errors import DataError
from harness.records.cell_manifest import AnswersRecord, CellRecord, PluginRecord
from harness.records.read import Cell, read_cell, read_run
from harness.records.schema import EXAMPLES, MESSAGES, STEPS, STRING_AT
from harness.records.step_row import SAMPLED, StepRow
from harness.records.write import write_cell, write_table
from harness.store.atomic import write_json

PLUGIN = PluginRecord(name="x", label="x(y=1)", params={"y": 1, "z": [None, 0.5]}, distribution="d", version="1")
RECORD = CellRecord(
    key="k",
    status="done",
    spec_name="s",
    spec_version="1",
    spec_hash="0" * 64,
    task=PLUGIN,
    victim=PLUGIN,
    defense=PLUGIN,
    attack=PLUGIN,
    judge=PLUGIN,
    threat={"tokens": 4},
    threat_label="suffix",
    seed=3,
    stop_on_success=False,
    target_asr=0.5,
    accounting="c",
    data_hash="h",
)
FLOAT = st.floats(allow_nan=False)
TEXT = st.text(st.characters(codec="utf-8"), max_size=10)
VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): TEXT,
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.bool_(): st.booleans(),
    pa.float64(): FLOAT,
    pa.list_(pa.int32()): st.lists(st.integers(0, 2**31 - 1), max_size=3),
    pa.list_(pa.string()): st.lists(st.none() | TEXT, max_size=3),
    pa.list_(pa.bool_()): st.lists(st.none() | st.booleans(), max_size=3),
    pa.list_(pa.float64()): st.lists(st.none() | FLOAT, max_size=3),
    MESSAGES: st.lists(st.fixed_dictionaries({"role": TEXT, "content": TEXT}), max_size=3),
    STRING_AT: st.fixed_dictionaries({field.name: st.integers(0, 2**31 - 1) for field in STRING_AT}),
}
DRAWN = RECORD.model_copy(update={"answers": AnswersRecord(samples=3, temperature=1.0, top_p=1.0, max_tokens=None)})


def rows_of(schema: pa.Schema) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(st.fixed_dictionaries({f.name: st.none() | VALUES[f.type] for f in schema}), max_size=4)


@settings(deadline=None, max_examples=40)
@given(rows_of(EXAMPLES), rows_of(STEPS))
def test_rows_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, examples: list[dict[str, Any]], steps: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("cell")
    write_cell(folder, DRAWN, examples, [StepRow.from_record(row) for row in steps])
    cell = Cell(read_cell(folder / "cell.json"), folder)
    assert cell.record == DRAWN
    assert cell.examples().to_pylist() == examples
    assert cell.steps().to_pylist() == steps
    assert cell.steps().schema == STEPS
    assert cell.examples().schema == EXAMPLES


def test_no_rows_have_columns_too(tmp_path: Path) -> None:
    write_cell(tmp_path, RECORD, [], [])
    assert Cell(RECORD, tmp_path).steps().schema == STEPS
    assert set(pq.read_schema(tmp_path / "steps.parquet").names) == set(STEPS.names) - set(SAMPLED)


def test_a_blocked_prompt_has_an_infinite_loss(tmp_path: Path) -> None:
    write_table(tmp_path / "steps.parquet", [{"example": "e", "step": 1, "loss": math.inf}], STEPS)
    assert Cell(RECORD, tmp_path).steps(["loss"]).to_pylist() == [{"loss": math.inf}]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 1}, "record format 1, this version reads format 2"),
        ({"format": True}, "record format True"),
        ({"seed": "many"}, "seed: Input should be a valid integer"),
        ({"extra": 1}, "extra: Extra inputs are not permitted"),
        ({"victim_facts": {}}, "victim_facts.family: Field required"),
    ],
)
def test_a_manifest_of_another_form_is_named(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    path = tmp_path / "cell.json"
    write_json(path, RECORD.model_dump(mode="json") | change)
    with pytest.raises(DataError) as caught:
        read_cell(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_an_integer_without_end_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cell.json"
    path.write_text('{"format": ' + "9" * 5000 + "}", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read as JSON"):
        read_cell(path)


def test_a_column_of_another_type_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"step": ["one"]}), tmp_path / "steps.parquet")
    with pytest.raises(DataError, match="column 'step' is string, not int32"):
        Cell(RECORD, tmp_path).steps(["step"])
    with pytest.raises(DataError, match="has no column 'loss'"):
        Cell(RECORD, tmp_path).steps(["loss"])


@pytest.mark.parametrize("name", ["nowhere", "file"])
def test_what_is_no_run_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="no such run directory"):
        read_run(tmp_path / name)
    with pytest.raises(DataError, match=r"run.json is missing"):
        read_run(tmp_path)
