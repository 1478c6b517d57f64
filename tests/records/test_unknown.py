"""Unknown compute: NaN while it is added up, null in every file, and never 0."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from harness.api.problem.state import State
from harness.engine.search.search_round import Round
from harness.flops import Flops, nominal_forward
from harness.records.cell_manifest import CellRecord, Compute, PluginRecord, VictimFacts
from harness.records.journal import Journal
from harness.records.read import Cell, read_cell
from harness.records.write import write_cell
from tests.records.rows import step_row


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


def test_a_sum_with_unknown_compute_is_unknown() -> None:
    total = Flops(1.0, 2.0) + Flops(nominal_forward(None, 7), 3.0)
    assert total.to_json() == {"nominal": None, "executed": 5.0}
    assert math.isnan(Flops.from_json(total.to_json()).nominal)


def test_a_cell_on_disk(tmp_path: Path) -> None:
    rows = [step_row(attack_nominal=math.nan, attack_executed=math.nan), step_row(attack_nominal=7.0, step=2)]
    write_cell(tmp_path, record(), [], rows)
    strict((tmp_path / "cell.json").read_text())
    told = read_cell(tmp_path / "cell.json")
    assert told == record()
    steps = Cell(told, tmp_path).steps(["attack_nominal", "attack_executed", "judge_nominal"]).to_pydict()
    assert steps == {"attack_nominal": [None, 7.0], "attack_executed": [None, 0.0], "judge_nominal": [0.0, 0.0]}
    assert pq.read_table(tmp_path / "steps.parquet").column("attack_nominal").null_count == 1
    assert math.isnan(rows[0].attack_nominal), "the rows of the caller stay as they are"


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
    done = Round([step_row(attack_nominal=math.nan, loss=1.0)], {0: State((1,))}, {})
    with Journal(path) as journal:
        journal.append(done.to_json())
    assert strict(path.read_text())["rows"][0]["attack_nominal"] is None
    with Journal(path) as journal:
        (entry,) = journal.entries
    again = Round.from_json(entry)
    assert math.isnan(again.rows[0].attack_nominal)
    assert again.rows[0].judge_nominal == 0.0
    assert again.states == {0: State((1,))}


@pytest.mark.parametrize("rows", ['"rows": 3', '"rows": [3]', '"other": []'])
def test_a_damaged_journal_is_left_to_who_reads_it(tmp_path: Path, rows: str) -> None:
    (tmp_path / "journal.jsonl").write_text(f"{{{rows}}}\n")
    with Journal(tmp_path / "journal.jsonl") as journal:
        assert len(journal.entries) == 1
