"""run.json lists the cells of its spec, so that a reader of an unfinished run knows what is missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from harness.records.read import read_run
from leaderboard.standings.standings import standings
from tests.run.runs import FAST, FROM_FILES, harness_here


def test_a_run_lists_its_cells_under_the_keys_and_labels_of_their_records(tmp_path: Path) -> None:
    (tmp_path / "fast.yaml").write_text(FAST)
    assert harness_here("run", "fast.yaml", "--out", "out", *FROM_FILES, cwd=tmp_path).returncode == 0
    run = read_run(tmp_path / "out")
    records = {cell.record.key: cell.record for cell in run.cells}
    assert {cell.key for cell in run.planned} == records.keys()
    assert run.missing == 0
    for cell in run.planned:
        record = records[cell.key]
        assert cell.attack == record.attack.label
        assert (cell.task, cell.threat, cell.space) == (record.task.label, record.threat_label, record.space)
        assert (cell.victim, cell.defense, cell.seed) == (record.victim.label, record.defense.label, record.seed)

    lost = next(cell for cell in run.cells if cell.record.attack.name == "hill_climb")
    shutil.rmtree(lost.folder)
    unfinished = read_run(tmp_path / "out")
    assert unfinished.missing == 1
    (table,) = standings([unfinished])
    assert [row.rank.note for row in table.rows] == [f"unfinished: {lost.record.attack.label} (seed 0) missing"]


def test_a_shard_lists_the_whole_spec_and_a_merged_run_lacks_nothing(tmp_path: Path) -> None:
    (tmp_path / "fast.yaml").write_text(FAST)
    for index in (1, 2):
        shard = f"{index}/2"
        done = harness_here("run", "fast.yaml", "--out", f"out{index}", "--shard", shard, *FROM_FILES, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    first = read_run(tmp_path / "out1")
    assert (len(first.planned), first.missing) == (2, 2 - len(first.cells))
    assert harness_here("merge", "out1", "out2", "--out", "whole", cwd=tmp_path).returncode == 0
    whole = read_run(tmp_path / "whole")
    assert (len(whole.planned), whole.missing) == (2, 0)


def test_a_run_of_an_older_version_has_its_cells_listed_when_it_goes_on(tmp_path: Path) -> None:
    (tmp_path / "fast.yaml").write_text(FAST)
    for _ in range(2):
        assert harness_here("run", "fast.yaml", "--out", "out", *FROM_FILES, cwd=tmp_path).returncode == 0
        path = tmp_path / "out" / "run.json"
        info = json.loads(path.read_text())
        assert len(info.pop("planned")) == 2
        path.write_text(json.dumps(info))
    assert read_run(tmp_path / "out").missing == 0  # the number of its cells is known all the same
