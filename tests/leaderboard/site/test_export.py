"""The export: a row for each row of the standings, numbers with their intervals, and the licence."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries

from harness.errors import DataError
from harness.records.read import read_run
from leaderboard.site.downloads.eval_results import benchmark_file, task_id, write_benchmark_file, write_eval_results
from leaderboard.site.downloads.export import write_csv
from leaderboard.site.site_data import payload
from leaderboard.standings.standings import standings
from tests.leaderboard.fake_run import FakeCell, write_run


def test_rows_of_a_run(tmp_path: Path) -> None:
    cells = [FakeCell(victim=victim, seed=seed) for victim in ("a", "=b") for seed in (0, 1)]
    cells += [FakeCell(victim="c", step_flops=None)]
    run = read_run(write_run(tmp_path / "run", cells))
    sections = payload([run], standings([run]))["sections"]
    write_csv(tmp_path / "rows.csv", sections)
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    of_page = [row for section in sections for row in section["rows"]]
    assert len(rows) == len(of_page) == 3
    assert {row["license"] for row in rows} == {"CC0-1.0"}
    assert "'=b" in {row["victim"] for row in rows}  # a spreadsheet takes it for no formula
    for row, on_page in zip(rows, of_page, strict=True):
        assert on_page["asr"] is not None
        for column, name in (("", "value"), ("_low", "low"), ("_high", "high"), ("_trials", "trials")):
            assert float(row[f"asr_share{column}"]) == on_page["asr"][name]  # type: ignore[literal-required]
        assert on_page["breaking"] is not None
        compute = on_page["breaking"]["compute"]
        assert row["to_target_flops_per_example"] == ("" if compute is None else str(compute))
        assert row["asr_with_claims_share"] == ""  # nobody claims anything
    assert {row["victim"]: row["to_target_flops_per_example"] for row in rows}["c"] == ""  # unknown is not zero


def test_nothing_to_export(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Nothing to export"):
        write_csv(tmp_path / "rows.csv", [])


def test_the_hubs_form_of_results_is_read_back_by_its_library(tmp_path: Path) -> None:
    cells = [FakeCell(victim="org/a 1b", seed=seed) for seed in (0, 1)] + [FakeCell(victim="b", defense="guard")]
    run = read_run(write_run(tmp_path / "run", cells))
    sections = payload([run], standings([run]))["sections"]
    (path,) = write_eval_results(tmp_path / "there", sections, "lab/robustness")  # none of the guarded victim
    assert path.parent == tmp_path / "there"
    assert path.suffix == ".yaml"
    (entry,) = parse_eval_result_entries(yaml.safe_load(path.read_text(encoding="utf-8")))
    ((section, row),) = [(part, row) for part in sections for row in part["rows"] if row["victim"] == "org/a 1b"]
    assert row["asr"] is not None
    assert entry.value == pytest.approx(100 * (1 - row["asr"]["value"]), abs=1e-3)
    assert entry.dataset_id == "lab/robustness"
    assert entry.notes is not None
    assert f"{row['asr']['successes']} of {row['asr']['trials']}" in entry.notes
    assert str(section.get("spec_hash")) in entry.notes


def test_the_benchmarks_own_file_lists_the_tasks_that_results_name(tmp_path: Path) -> None:
    cells = [FakeCell(victim="a"), FakeCell(victim="a", task="spam"), FakeCell(victim="b", defense="guard")]
    run = read_run(write_run(tmp_path / "run", cells))
    sections = payload([run], standings([run]))["sections"]
    write_benchmark_file(tmp_path / "new" / "eval.yaml", sections)
    written = yaml.safe_load((tmp_path / "new" / "eval.yaml").read_text(encoding="utf-8"))
    assert written.keys() == {"name", "description", "evaluation_framework", "tasks"}
    assert [task["id"] for task in written["tasks"]] == [task_id(section) for section in sections]
    assert all(task.keys() == {"id", "config", "split"} for task in written["tasks"])
    (path,) = write_eval_results(tmp_path, sections, "lab/robustness")
    named = {entry.task_id for entry in parse_eval_result_entries(yaml.safe_load(path.read_text(encoding="utf-8")))}
    assert named <= {task["id"] for task in written["tasks"]}
    with pytest.raises(DataError, match="no table"):
        benchmark_file([])


def test_results_that_the_hub_cannot_take_are_refused(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", [FakeCell(defense="guard")]))
    sections = payload([run], standings([run]))["sections"]
    with pytest.raises(DataError, match="write OWNER/NAME"):
        write_eval_results(tmp_path, sections, "robustness")
    with pytest.raises(DataError, match="no row without a defense"):
        write_eval_results(tmp_path, sections, "lab/robustness")
    (tmp_path / "file").write_text("")
    attacked = read_run(write_run(tmp_path / "other", [FakeCell()]))
    with pytest.raises(DataError, match="cannot be written"):
        write_eval_results(tmp_path / "file", payload([attacked], standings([attacked]))["sections"], "lab/robustness")
