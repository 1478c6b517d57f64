"""`harness status`: what a run directory holds, at any time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_plugins import imported
from tests.run.runs import FAST, FROM_FILES, harness, harness_here


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    (tmp_path / "spec.yaml").write_text(FAST)
    assert harness_here("run", "spec.yaml", "--out", "out", "--quiet", *FROM_FILES, cwd=tmp_path).returncode == 0
    return tmp_path


def test_a_table_and_the_sums(finished: Path) -> None:
    done = harness("status", "out", cwd=finished)
    assert done.returncode == 0
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert "weather_or_food × counts × none × hill_climb × suffix, 4 tokens, gradient, seed 0" in done.stdout
    assert done.stdout.splitlines()[1] == "2 done, 0 failed, 0 begun, 0 missing"


def test_json(finished: Path) -> None:
    done = harness_here("status", "out", "--json", cwd=finished)
    status = json.loads(done.stdout)
    assert status["expected"] == 2
    assert status["counts"] == {"done": 2, "failed": 0, "begun": 0, "missing": 0}
    assert {(cell["status"], cell["n_attacked"], cell["error"]) for cell in status["cells"]} == {("done", 6, None)}


def test_a_begun_cell_and_one_that_is_missing(finished: Path) -> None:
    first, second = sorted((finished / "out/cells").iterdir())
    for path in [*first.iterdir(), *second.iterdir()]:
        path.unlink()
    second.rmdir()
    (first / "journal.jsonl").write_text('{"rows": []}\n{"rows": []}\n{"ro')
    done = harness_here("status", "out", cwd=finished)
    assert done.returncode == 0
    assert "2 rounds in the journal" in done.stdout
    lines = done.stdout.splitlines()
    assert lines[1] == "0 done, 0 failed, 1 begun, 1 missing", "what there is comes first"
    assert lines.index("begun: 1 cell") < lines.index("missing: 1 cell"), "the most urgent first"
    told = json.loads(harness_here("status", "out", "--json", cwd=finished).stdout)["cells"]
    assert {(cell["key"], cell["status"]) for cell in told} == {(first.name, "begun"), (second.name, "missing")}
    labels = {
        f"weather_or_food × counts × none × {attack} × suffix, 4 tokens, gradient, seed 0"
        for attack in ("random_token", "hill_climb")
    }
    assert {cell["label"] for cell in told} == labels


def test_torch_is_not_needed(finished: Path) -> None:
    loaded = imported("status", str(finished / "out"))
    assert "harness.run.status" in loaded
    assert not loaded & {"torch", "transformers", "datasets", "scipy"}
