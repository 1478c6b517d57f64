"""Unknown compute: NaN while it is added up, null in every file, and never 0."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st

from harness.flops import Flops, nominal_forward
from harness.records.cell import CellRecord, Compute, PluginRecord, VictimFacts
from harness.records.journal import Journal
from harness.records.nulls import with_nulls, without_nulls
from harness.records.read import Cell, read_cell
from harness.records.schema import COMPUTE, STEPS
from harness.records.write import write_cell

amounts = st.one_of(st.just(math.nan), st.floats(0, 1e30))


def step(**compute: float) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(STEPS.names)
    row |= {"example": "e", "step": 1, "success": False, "loss": math.inf, "queries": 3, "seconds": 0.5}
    return row | dict.fromkeys(COMPUTE, 0.0) | compute


def record() -> CellRecord:
    plugin = PluginRecord(name="p", label="p", params={}, distribution="d", version="1")
    facts = VictimFacts(
        family="f",
        n_params=None,
        n_params_non_embedding=None,
        pretraining_flops=None,
        preparation=Compute(),
        reference_flops=None,
        artifact="a",
    )
    names: dict[str, Any] = dict.fromkeys(("task", "victim", "defense", "attack", "judge"), plugin)
    return CellRecord(
        key="k",
        status="done",
        spec_name="s",
        spec_version="1",
        spec_hash="h",
        threat={},
        threat_label="t",
        seed=0,
        stop_on_success=False,
        target_asr=0.5,
        accounting="a",
        data_hash="d",
        victim_facts=facts,
        clean_compute=Compute(nominal=None, executed=None),
        **names,
    )


def strict(text: str) -> Any:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_the_columns_of_compute() -> None:
    assert len(COMPUTE) == 6
    assert set(COMPUTE) < set(STEPS.names)


@given(st.fixed_dictionaries(dict.fromkeys(COMPUTE, amounts)))
def test_there_and_back(compute: dict[str, float]) -> None:
    row = step(**compute)
    written = with_nulls(row)
    assert {name for name in COMPUTE if written[name] is None} == {name for name in COMPUTE if math.isnan(row[name])}
    again = without_nulls(written)
    assert all(again[name] == row[name] or math.isnan(again[name] + row[name]) for name in COMPUTE)
    assert again.keys() == row.keys()
    assert again["loss"] == math.inf, "only compute is looked at"


def test_a_sum_with_unknown_compute_is_unknown() -> None:
    total = Flops(1.0, 2.0) + Flops(nominal_forward(None, 7), 3.0)
    assert total.to_json() == {"nominal": None, "executed": 5.0}
    assert math.isnan(Flops.from_json(total.to_json()).nominal)


def test_a_cell_on_disk(tmp_path: Path) -> None:
    rows = [step(attack_nominal=math.nan, attack_executed=math.nan), step(attack_nominal=7.0) | {"step": 2}]
    write_cell(tmp_path, record(), [], rows)
    strict((tmp_path / "cell.json").read_text())
    told = read_cell(tmp_path / "cell.json")
    assert told == record()
    steps = Cell(told, tmp_path).steps(["attack_nominal", "attack_executed", "judge_nominal"]).to_pydict()
    assert steps == {"attack_nominal": [None, 7.0], "attack_executed": [None, 0.0], "judge_nominal": [0.0, 0.0]}
    assert pq.read_table(tmp_path / "steps.parquet").column("attack_nominal").null_count == 1
    assert math.isnan(rows[0]["attack_nominal"]), "the rows of the caller stay as they are"


def test_a_record_of_before_can_be_read(tmp_path: Path) -> None:
    """Amounts that had to be numbers may be null now, and nothing else has changed."""
    old = record().model_dump(mode="json")
    old["victim_facts"] |= {"n_params": 100, "n_params_non_embedding": 50, "reference_flops": 1e9}
    old["clean_compute"] = {"nominal": 1.0, "executed": 2.0}
    (tmp_path / "cell.json").write_text(json.dumps(old))
    found = read_cell(tmp_path / "cell.json")
    assert found.victim_facts is not None
    assert (found.victim_facts.n_params, found.victim_facts.reference_flops) == (100, 1e9)


def test_the_journal_says_null_and_gives_nan_back(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    row = step(attack_nominal=math.nan, loss=1.0)
    with Journal(path) as journal:
        journal.append({"rows": [row], "states": {"0": {"tokens": [1]}}})
        assert math.isnan(journal.entries[0]["rows"][0]["attack_nominal"])
    assert strict(path.read_text())["rows"][0]["attack_nominal"] is None
    with Journal(path) as journal:
        (entry,) = journal.entries
    assert math.isnan(entry["rows"][0]["attack_nominal"])
    assert entry["rows"][0]["judge_nominal"] == 0.0
    assert entry["states"] == {"0": {"tokens": [1]}}


@pytest.mark.parametrize("rows", ['"rows": 3', '"rows": [3]', '"other": []'])
def test_a_damaged_journal_is_left_to_who_reads_it(tmp_path: Path, rows: str) -> None:
    (tmp_path / "journal.jsonl").write_text(f"{{{rows}}}\n")
    with Journal(tmp_path / "journal.jsonl") as journal:
        assert len(journal.entries) == 1
