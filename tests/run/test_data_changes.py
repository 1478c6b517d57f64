"""What was left out of a task's data is told by the run and kept in its records."""

from __future__ import annotations

import json
from pathlib import Path

from tests.run.runs import FAST, FROM_FILES, harness_here

SPEC = FAST.replace(
    "{weather_or_food: {size: 40}}", "{text_classification: {path: d.jsonl, labels: [rain, bread], empty: drop}}"
)
ROWS = [{"text": f"row {i} {['wet', 'warm'][i % 2]}", "label": ["rain", "bread"][i % 2]} for i in range(120)]


def lines(rows: list[dict[str, str]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def manifests(out: Path) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in sorted(out.glob("cells/*/cell.json"))]


def test_copies_are_told_and_recorded_and_change_nothing_else(tmp_path: Path) -> None:
    assert SPEC != FAST
    (tmp_path / "spec.yaml").write_text(SPEC)
    (tmp_path / "d.jsonl").write_text(lines(ROWS))
    plain = harness_here("run", "spec.yaml", "--out", "plain", *FROM_FILES, cwd=tmp_path)
    assert (plain.returncode, plain.stderr.count("note")) == (0, 0), plain.stderr
    half = '{"text": "half \\ud83d", "label": "rain"}\n'
    (tmp_path / "d.jsonl").write_text(lines([*ROWS, ROWS[0], ROWS[1], {"text": "", "label": "rain"}]))
    done = harness_here("run", "spec.yaml", "--out", "copies", *FROM_FILES, cwd=tmp_path)
    notes = [line.split(":", 1)[1] for line in done.stderr.splitlines() if line.startswith("note")]
    assert notes == [" dropped, copies: 2", " dropped, empty: 1"]
    assert [path.name for path in sorted(tmp_path.glob("copies/cells/*"))] == [
        path.name for path in sorted(tmp_path.glob("plain/cells/*"))
    ]  # the same content keys
    for one, other in zip(manifests(tmp_path / "plain"), manifests(tmp_path / "copies"), strict=True):
        assert one["data_source"]["train file"] == "d.jsonl"
        assert other["data_source"]["dropped, copies"] == "2"
        assert (one["data_hash"], one["n_clean_correct"]) == (other["data_hash"], other["n_clean_correct"])
    (tmp_path / "d.jsonl").write_text(lines(ROWS) + half)
    done = harness_here("run", "spec.yaml", "--out", "half", *FROM_FILES, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "mended, half of a surrogate pair replaced by U+FFFD: 1" in done.stderr


def test_contradictions_fail_the_cells_with_file_rows_and_mend(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    (tmp_path / "d.jsonl").write_text(lines([*ROWS, ROWS[0] | {"label": "bread"}]))
    done = harness_here("run", "spec.yaml", "--out", "out", *FROM_FILES, cwd=tmp_path)
    assert done.returncode == 1
    assert "d.jsonl, line 121: contradicts" in done.stderr
    assert "contradictions: drop" in done.stderr
