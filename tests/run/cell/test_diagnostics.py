"""Diagnostics of a defended victim: calibration, worst-case accuracy, and shift against plain computations."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st

from harness.records.cell_manifest import DefenseFacts
from harness.records.step_row import StepRow
from harness.run.cell.diagnostics import expected_calibration_error, last_strings, rejudged, worst_case
from tests.records.rows import step_row

ANSWERS = st.lists(st.tuples(st.floats(0.01, 1.0), st.booleans()), min_size=1, max_size=50)


def row(example: str, step: int, success: bool = False, flops: float = 1.0, text: str | None = "x") -> StepRow:
    failure = None if text else "retokenisation"
    return step_row(
        example=example, step=step, success=success, attack_nominal=flops, attack_text=text, failure=failure
    )


@given(ANSWERS)
def test_calibration_is_that_of_the_definition(answers: list[tuple[float, bool]]) -> None:
    wanted = 0.0
    for at in range(15):
        inside = [(c, r) for c, r in answers if at / 15 < c <= (at + 1) / 15]
        if inside:
            gap = abs(np.mean([r for _, r in inside]) - np.mean([c for c, _ in inside]))
            wanted += len(inside) / len(answers) * gap
    found = expected_calibration_error([c for c, _ in answers], [r for _, r in answers])
    # an answer that lies on the edge of two bins may be counted into either
    if all(abs(c * 15 - round(c * 15)) > 1e-9 for c, _ in answers):
        assert found == pytest.approx(wanted, abs=1e-9)
    assert found is not None
    assert 0 <= found <= 1


def test_calibration_at_its_ends() -> None:
    assert expected_calibration_error([], []) is None
    assert expected_calibration_error([1.0, 1.0], [True, True]) == 0
    assert expected_calibration_error([1.0, 1.0], [False, False]) == 1


def test_worst_case_falls_with_what_is_broken() -> None:
    rows = [row("a", 1), row("a", 2, True), row("b", 1, True), row("b", 2), row("c", 1), row("c", 2), row("c", 3)]
    curve = worst_case(rows, 0.9, 3)
    assert [point["step"] for point in curve] == [0, 1, 2, 3]
    assert [point["accuracy"] for point in curve] == pytest.approx([0.9, 0.6, 0.3, 0.3])
    assert [point["flops"] for point in curve] == pytest.approx([0, 1, 2, 7 / 3])
    assert worst_case([], 0.7, 0) == [{"step": 0, "flops": 0.0, "accuracy": 0.7}]
    assert worst_case([], None, 0) == [], "of no clean answer nothing is left, and nothing lost"
    assert worst_case([row("a", 1, flops=math.nan)], 1.0, 1)[1]["flops"] is None
    assert len(worst_case([row("a", step) for step in range(1, 500)], 1.0, 1)) <= 33


def test_the_last_judged_string_counts() -> None:
    rows = [row("a", 2, text="new"), row("a", 1, text="old"), row("a", 3, text=None), row("b", 1, text=None)]
    assert last_strings(rows) == {"a": "new"}


def test_another_judge_changes_the_worst_case_alone() -> None:
    facts = DefenseFacts(diagnostics={"ece": {"clean": 0.1}, "worst_case": []})
    again = rejudged(facts, [row("a", 1, True)], 0.8, 1)
    assert again.diagnostics["ece"] == {"clean": 0.1}
    assert again.diagnostics["worst_case"][-1]["accuracy"] == 0
    assert rejudged(DefenseFacts(), [], 0.0, 0) == DefenseFacts()


@pytest.mark.slow
def test_they_are_in_the_record(tmp_path: Path) -> None:
    """Of a small run, against the model in its artifact, asked directly."""
    from harness.engine.open_backend import open_folder
    from tests.plugins.defenses.test_rounds import run_spec

    attack = "{gcg: {steps: 2, candidates: 6, topk: 8}}"
    run_spec(tmp_path, defense="{rounds: 1, attacked_per_round: 4, examples_per_round: 8}", attack=attack, clean=32)
    for path in (tmp_path / "run/cells").glob("*/cell.json"):
        cell = json.loads(path.read_text())
        found = cell["defense_facts"]["diagnostics"]
        folder = tmp_path / "run/artifacts" / (cell["defense_facts"]["artifact"] or cell["victim_facts"]["artifact"])
        model = open_folder(folder, labels=(" FIRST", " SECOND"), dtype="float32", device="cpu")
        steps = pq.read_table(path.parent / "steps.parquet").to_pylist()
        final = [one for one in steps if one["step"] == 2 and one["failure"] is None]
        accuracy = cell["n_clean_correct"] / cell["n_clean"]
        broken = len({one["example"] for one in steps if one["success"]}) / max(1, cell["n_attacked"])
        assert found["worst_case"][-1]["accuracy"] == pytest.approx(accuracy * (1 - broken))
        assert 0 <= found["ece"]["clean"] <= 1
        if final:
            proxy = [np.exp(-one["loss"]) for one in final]  # of two labels: what the victim gives the wrong one
            wanted = expected_calibration_error([max(p, 1 - p) for p in proxy], [p < 0.5 for p in proxy])
            assert found["ece"]["attacked"] == pytest.approx(wanted, abs=1e-4)
            layers = model.model.config.num_hidden_layers
            assert [one["layer"] for one in found["shift"]] == list(range(layers + 1))
            assert found["shift"][-1]["moved"] > 0
            assert found["compute"]["nominal"] > 0
