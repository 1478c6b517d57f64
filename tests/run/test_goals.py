"""Of several labels: the next one, any wrong one, or a certain one, from the spec to the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from harness.cli import main
from harness.records.read import read_run
from tests.plugins.tasks.test_text_classification import load

LABELS = ["RED", "GREEN", "BLUE"]


@pytest.mark.slow
def test_an_attack_succeeds_with_what_the_goal_says_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"text": f"{i} is {LABELS[i % 3].lower()} and {i * 7}", "label": LABELS[i % 3]} for i in range(300)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    common = {"path": "d.jsonl", "labels": LABELS}
    goals = {
        "next": {(0, 1), (1, 2), (2, 0)},
        "any": {(a, b) for a in range(3) for b in range(3)},
        "GREEN": {(0, 1), (2, 1)},
    }
    spec = {
        "name": "goals",
        "version": "1",
        "tasks": [{"text_classification": common | {"goal": goal}} for goal in goals],
        "victims": [{"tiny": {"size": "7k", "steps": 60}}],
        "attacks": [{"random_token": {"steps": 2, "draws": 32}}, {"gcg": {"steps": 2, "candidates": 32}}],
        "threats": [{"tokens": 8}],
        "judge": "proxy_label",
        "seeds": [0],
        "examples": 12,
        "clean_examples": 30,
    }
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(spec))
    assert main(["run", "s.yaml", "--out", "r", "--quiet", "--jobs", "0", "--site", "site"]) == 0
    texts = {example.id: example for example in load(tmp_path / "d.jsonl", labels=LABELS).validation}
    heard: dict[str, set[tuple[int, int]]] = {goal: set() for goal in goals}
    for cell in read_run(tmp_path / "r"):
        goal = cell.record.task.params["goal"]
        for step in cell.steps().to_pylist():
            true, said = texts[step["example"]].label, step["predicted"]
            assert goal != LABELS[true]
            assert step["success"] == (said != true and (true, said) in goals[goal])
            heard[goal] |= {(true, said)} if step["success"] else set()
    assert all(heard.values()), "each goal is reached at least once"
    assert len(heard["any"]) > 2
    assert "GREEN" in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
