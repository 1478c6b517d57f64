"""Searches that a limit of the threat model ends: honest ones are verified, one that is cut short is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.records.cell_manifest import Compute, VictimFacts
from harness.records.read import read_run
from harness.registry.loader import load_plugins
from harness.replay.by_spec.attack_costs import RecordedCosts, attack_cost_problems
from harness.run.cell.base_record import base_record
from harness.spec.load import read_spec
from leaderboard.submission.verification.inspection import inspect_submission
from tests.leaderboard.submission.forge import forged, pack_fast, parts_of, with_rows
from tests.leaderboard.submission.test_verify import problems, verify
from tests.run.runs import FAST, KIT


@pytest.fixture(autouse=True)
def unguarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The inspection in this process: quick."""
    monkeypatch.setattr("leaderboard.submission.verification.sandbox.inspect_in_sandbox", inspect_submission)


def limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *limits: str) -> Path:
    threats = ", ".join(f"{{tokens: 4, {limit}}}" for limit in limits)
    spec = FAST.replace("threats: [{tokens: 4}]", f"threats: [{threats}]").replace("steps: 3", "steps: 12")
    monkeypatch.setattr("tests.leaderboard.submission.forge.FAST", spec)
    return pack_fast(tmp_path)


def test_honest_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = ("queries: 1", "queries: 9", "queries: 30", "flops: 1", "flops: 3e5")
    packed = limited(tmp_path, monkeypatch, *limits)
    cells = read_run(tmp_path / "run").cells
    ended = {cell.record.threat_label for cell in cells if len(cell.steps(["step"])) < 6 * 12}
    assert len(ended) == len(limits)  # each ends some search
    code, report = verify(packed)
    assert (code, problems(report)) == (0, {})


def test_one_that_is_cut_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left of a search but the steps before its first success, where a limit might have ended it."""
    packed = limited(tmp_path, monkeypatch, "queries: 1000")

    def cut(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row for row in rows if row["step"] < 2]

    path = forged(with_rows(parts_of(packed), cut), tmp_path / "cut.zip")
    code, report = verify(path)
    assert code == 1
    assert "the threat model leaves enough for more" in problems(report)["attack costs"]


def test_a_cell_in_which_nothing_was_attacked_has_no_costs() -> None:
    registry = load_plugins(map(str, (KIT / f"{name}.py" for name in ("task", "victim", "attack")))).registry
    spec = read_spec(FAST, "fast.yaml", Path.cwd(), registry)
    cell, record = spec.cells[0], base_record(spec.cells[0], spec, "a" * 20)
    nothing = RecordedCosts(steps=0, queries=0, most_queries=0, flops=0.0, longest_forward=0.0)
    assert [*attack_cost_problems(cell, record, nothing)] == []
    dear = RecordedCosts(steps=3, queries=3 * 4000, most_queries=4000, flops=0.0, longest_forward=0.0)
    assert [certain for certain, _ in attack_cost_problems(cell, record, dear)] == [True]
    cheap = RecordedCosts(steps=300, queries=1, most_queries=1, flops=0.0, longest_forward=0.0)
    assert [certain for certain, _ in attack_cost_problems(cell, record, cheap)] == [False]


def test_flops_of_an_attack_on_texts() -> None:
    """No sequence that is scored is longer than what was judged; models of an attack's own are estimated."""
    registry = load_plugins(map(str, (KIT / f"{name}.py" for name in ("task", "victim", "attack")))).registry
    spec = read_spec(FAST, "fast.yaml", Path.cwd(), registry)
    unknown = dict.fromkeys(("n_params_non_embedding", "pretraining_flops", "reference_flops"))
    facts = VictimFacts(family="f", n_params=100, preparation=Compute(), artifact="a" * 20, **unknown)
    record = base_record(spec.cells[0], spec, "a" * 20).model_copy(update={"task_kind": "text", "victim_facts": facts})

    def found(flops: float, judging: float = 2e4) -> list[bool]:
        costs = RecordedCosts(3, 3 * 4, 4, 3 * flops, longest_forward=judging / 4, longest_judging=judging)
        return [certain for certain, _ in attack_cost_problems(spec.cells[0], record, costs)]

    assert found(4 * 2e4) == []  # four strings, each as long as what was judged
    assert found(100 * 2e4) == [True]
    assert found(1.0, judging=0.0) == [False]  # guards kept all strings from the victim
