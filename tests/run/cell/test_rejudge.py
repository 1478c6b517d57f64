"""A judge added to a finished run: verdicts again, no attack run, no victim asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.api.judge import Answer, Judge, Judging, Verdict
from harness.api.task import Chunk, Edit, Example, TaskData
from harness.cli import main
from harness.engine.search.judging import JudgeRunner
from harness.engine.search.router import ModelRouter
from harness.records.read import Cell, read_cell, read_run
from harness.records.write import write_cell
from harness.run.cell.rejudge import Rejudged, rejudge
from tests.leaderboard.fake_run import FakeCell, write_run
from tests.records.rows import step_row
from tests.run.runs import FAST, FROM_FILES


def run(folder: Path, text: str, name: str, *options: str) -> int:
    spec = folder / f"{name}.yaml"
    spec.write_text(text, encoding="utf-8")
    return int(main([*FROM_FILES, "run", str(spec), "--out", str(folder / name), "--quiet", "--jobs", "0", *options]))


def table(folder: Path) -> dict:
    """Steps of each cell by attack, without what a judge may change."""
    return {cell.record.attack.label: cell.steps().drop_columns(["seconds"]).to_pylist() for cell in read_run(folder)}


def test_another_judge_runs_no_attack(tmp_path: Path) -> None:
    assert run(tmp_path, FAST, "first") == 0
    assert run(tmp_path, FAST + "judge: proxy_label\n", "second", "--from", str(tmp_path / "first")) == 0
    assert not (tmp_path / "second" / "artifacts").exists()  # no victim was made or loaded
    assert table(tmp_path / "second") == table(tmp_path / "first")  # of two labels, both judges say the same
    first, second = read_run(tmp_path / "first"), read_run(tmp_path / "second")
    assert {cell.record.judge.name for cell in second} == {"proxy_label"}
    assert {cell.record.search for cell in second} == {cell.record.search for cell in first}
    assert not {cell.record.key for cell in second} & {cell.record.key for cell in first}
    # As if the attack had been run under that judge.
    assert run(tmp_path, FAST + "judge: proxy_label\n", "alone") == 0
    assert table(tmp_path / "alone") == table(tmp_path / "second")
    assert {c.record.key for c in read_run(tmp_path / "alone")} == {c.record.key for c in second}


def test_what_is_not_in_the_run_is_attacked(tmp_path: Path) -> None:
    assert run(tmp_path, FAST.replace(", {hill_climb: {steps: 3}}", ""), "first") == 0
    assert run(tmp_path, FAST, "second", "--from", str(tmp_path / "first")) == 0
    assert len(list(read_run(tmp_path / "second"))) == 2
    held = json.loads((tmp_path / "second" / "run.json").read_text(encoding="utf-8"))
    assert held["cells"] == 2


def test_labels_are_those_of_the_spec_that_is_run(tmp_path: Path) -> None:
    more = FAST.replace("{hill_climb: {steps: 3}}", "{random_token: {steps: 3, draws: 2}}")
    assert run(tmp_path, FAST, "first") == 0
    assert run(tmp_path, more, "second", "--from", str(tmp_path / "first")) == 0
    labels = {cell.record.attack.label for cell in read_run(tmp_path / "second")}
    assert labels == {"random_token(draws=4)", "random_token(draws=2)"}


def diagnostics(folder: Path) -> dict:
    return {cell.record.search: cell.record.defense_facts.diagnostics for cell in read_run(folder)}


@pytest.mark.slow
def test_a_source_with_fewer_diagnostics_than_wanted_is_not_taken(tmp_path: Path) -> None:
    assert run(tmp_path, FAST, "full") == 0
    for extent in ("light", "off"):
        assert run(tmp_path, FAST + f"diagnostics: {extent}\n", extent, "--from", str(tmp_path / "full")) == 0
        assert not (tmp_path / extent / "artifacts").exists()
    assert run(tmp_path, FAST + "diagnostics: light\n", "alone") == 0
    assert diagnostics(tmp_path / "light") == diagnostics(tmp_path / "alone")
    assert set(map(str, diagnostics(tmp_path / "off").values())) == {"{}"}
    light, off = str(tmp_path / "light"), str(tmp_path / "off")
    assert run(tmp_path, FAST, "again", "--from", off, "--from", light) == 0
    assert diagnostics(tmp_path / "again") == diagnostics(tmp_path / "full")
    assert run(tmp_path, FAST, "found", "--from", off, "--from", str(tmp_path / "full")) == 0
    assert not (tmp_path / "found" / "artifacts").exists()


def test_a_source_that_is_no_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, FAST, "second", "--from", str(tmp_path / "nothing")) != 0
    assert "nothing: no such run directory" in capsys.readouterr().err


class Never(Judge):
    """Sees no success in anything."""

    name = "never"
    reads = "text"

    def success(self, example: Example, answer: object) -> bool:
        return False


def test_prompts_that_are_too_long_are_right_under_no_judge(tmp_path: Path) -> None:
    made = FakeCell(task_kind="text")
    folder = write_run(tmp_path / "run", [made]) / "cells" / made.key
    rows = [
        {"example": "short", "answer": "No.", "attacked": False, "excluded": "already broken when clean"},
        {
            "example": "long",
            "answer": None,
            "attacked": False,
            "excluded": "too long: 90 tokens with the attack string",
        },
    ]
    write_cell(folder, read_cell(folder / "cell.json"), rows, [])
    examples = [Example(name, (Chunk("How?", Edit.PERTURBABLE),), target=" Sure") for name in ("short", "long")]
    judge = JudgeRunner(Never(), ModelRouter(None, {}))
    found = rejudge(Cell(read_cell(folder / "cell.json"), folder), judge, TaskData((), [], examples))
    assert {name: found.changes[name] for name in ("n_clean", "n_clean_correct", "n_too_long")} == {
        "n_clean": 2,
        "n_clean_correct": 1,
        "n_too_long": 1,
    }
    assert [row["right"] for row in found.examples] == [True, None]


class Mumbles(Judge):
    """Says nothing that is a verdict of some answers, and sees a success in others."""

    name = "mumbles"
    reads = "text"

    def __init__(self, unclear: str) -> None:
        super().__init__()
        self.unclear = unclear

    def verdict(self, example: Example, answer: Answer) -> Judging:
        return Verdict(answer.text == "Yes.", unparseable=answer.text == self.unclear)
        yield


def test_what_a_judge_cannot_judge_is_in_no_rate(tmp_path: Path) -> None:
    made = FakeCell(task_kind="text")
    folder = write_run(tmp_path / "run", [made]) / "cells" / made.key
    said = {"no": "No.", "yes": "Yes.", "hm": "Hm."}
    rows = [{"example": name, "answer": text, "attacked": True} for name, text in said.items()]
    steps = [step_row(example=name, step=1, answer=text, unparseable=False) for name, text in said.items()]
    write_cell(folder, read_cell(folder / "cell.json"), rows, steps)
    data = TaskData((), [], [Example(name, (Chunk("How?", Edit.PERTURBABLE),), target=" Sure") for name in said])

    def under(unclear: str) -> Rejudged:
        judge = JudgeRunner(Mumbles(unclear), ModelRouter(None, {}))
        return rejudge(Cell(read_cell(folder / "cell.json"), folder), judge, data)

    first = under("Hm.")
    assert {row["example"]: row["excluded"] for row in first.examples} == {
        "no": None,
        "yes": "already broken when clean",
        "hm": "clean answer not judged",
    }
    counts = ("n_clean", "n_clean_correct", "n_clean_unparseable", "n_attacked", "n_asked", "n_unparseable")
    assert [first.changes[name] for name in counts] == [3, 1, 1, 1, 1, 0]
    record = read_cell(folder / "cell.json").model_copy(update=first.changes)
    assert record.clean_accuracy == 1 / 2
    assert [row["right"] for row in first.examples] == [True, False, None]
    write_cell(folder, record, first.examples, first.steps)
    second = under("No.")
    assert {row["example"]: row["excluded"] for row in second.examples} == {
        "no": "clean answer not judged",
        "yes": "already broken when clean",
        "hm": "not attacked: the judge of that run could not judge its clean answer",
    }
    assert [second.changes[name] for name in counts] == [3, 1, 1, 0, 0, 0]
