"""Records say which label each example has and which one the attacker wants, and what the labels are called."""

from __future__ import annotations

from pathlib import Path

from harness.records.read import read_run
from leaderboard.standings.standings import standings
from tests.run.runs import FAST, FROM_FILES, harness_here


def test_labels_and_targets_are_recorded(tmp_path: Path) -> None:
    (tmp_path / "fast.yaml").write_text(FAST)
    assert harness_here("run", "fast.yaml", "--out", "out", *FROM_FILES, cwd=tmp_path).returncode == 0
    run = read_run(tmp_path / "out")
    for cell in run.cells:
        assert len(cell.record.labels) == 2
        assert not any(label != label.strip() for label in cell.record.labels)
        rows = cell.examples(["label", "target"]).to_pylist()
        assert {row["label"] for row in rows} == {0, 1}
        assert all(row["target"] == 1 - row["label"] for row in rows)
    (table,) = standings([run])
    first, second = run.cells[0].record.labels
    assert {rate.name for rate in table.rows[0].directions} <= {f"{first} → {second}", f"{second} → {first}"}
    assert table.rows[0].directions
