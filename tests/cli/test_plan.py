"""`harness plan`: a table for people, JSON for scripts, and nothing done."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.test_plugins import imported
from tests.run.runs import FAST, FROM_FILES, TINY, harness, harness_here


def test_a_table_of_stages(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(TINY)
    done = harness("plan", "spec.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    lines = [line.split() for line in done.stdout.splitlines()]
    assert sum(line[:2] == ["prepare", "missing"] for line in lines) == 2
    assert sum(line[:2] == ["defend", "missing"] for line in lines) == 4
    assert sum(line[:2] == ["attack", "missing"] for line in lines) == 12
    assert ["attack", "12", "to", "do"] in [line[:4] for line in lines]
    assert "Rate of the CPU: " in done.stdout
    assert not (tmp_path / "runs").exists(), "a plan leaves nothing behind"


def test_json_is_all_there_is(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(FAST)
    done = harness_here("plan", "spec.yaml", "--json", *FROM_FILES, cwd=tmp_path)
    plan = json.loads(done.stdout)
    assert done.stderr == ""
    assert plan["spec"] == "fast"
    assert [stage["what"] for stage in plan["stages"]] == ["prepare", "attack", "attack"]
    assert plan["remaining_flops"] == sum(stage["flops"] for stage in plan["stages"])
    assert plan["remaining_seconds"] > 0


def test_what_is_done_is_not_counted(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(FAST)
    assert harness_here("run", "spec.yaml", "--quiet", *FROM_FILES, cwd=tmp_path).returncode == 0
    (tmp_path / "spec.yaml").write_text(FAST.replace("hill_climb: {steps: 3}", "hill_climb: {steps: 4}"))
    done = harness_here("plan", "spec.yaml", "--json", *FROM_FILES, cwd=tmp_path)
    stages = json.loads(done.stdout)["stages"]
    assert [(stage["what"], stage["status"]) for stage in stages] == [
        ("prepare", "done"),
        ("attack", "done"),
        ("attack", "missing"),
    ]


def test_data_that_is_missing_is_a_mistake_in_words(tmp_path: Path) -> None:
    task = "text_classification: {path: no.csv, text_column: t, label_column: l, labels: [a, b]}"
    (tmp_path / "spec.yaml").write_text(FAST.replace("weather_or_food: {size: 40}", task))
    done = harness_here("plan", "spec.yaml", *FROM_FILES, cwd=tmp_path)
    assert done.returncode == 2
    assert "no.csv: no such file" in done.stderr


def test_a_plan_trains_nothing_and_needs_no_torch(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(TINY)
    assert "torch" not in imported("plan", str(tmp_path / "spec.yaml"), "--json")
