"""`harness check` runs a task or a judge, packs the run, and has it verified and replayed elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.registry.loader import load_plugins
from harness.testing import run_check, subject_of
from harness.testing.checks.submissions import CHECKS

PLUGINS = '''
import json

from harness import Chunk, Edit, Example, Judge, SpecPath, Task, TaskData, hookimpl


class FromFile(Task):
    """Sentences of a file."""

    name = "from_file"

    class Params(Task.Params):
        file: SpecPath
        more: tuple[SpecPath, ...] = ()

    def load(self):
        rows = json.loads(self.params.file.read_text())
        return TaskData((" NO", " YES"), self.examples("train", rows[::2]), self.examples("validation", rows[1::2]))

    def examples(self, split, rows):
        chunks = [(Chunk(text), Chunk("", Edit.OVERWRITABLE)) for text in rows]
        return [Example(f"{split}-{i}", one, i % 2, 1 - i % 2) for i, one in enumerate(chunks)]


class TellsThePlace(FromFile):
    """Puts the place of its file into its prompts."""

    name = "tells_the_place"

    def examples(self, split, rows):
        return super().examples(split, [f"{text} of {self.params.file}" for text in rows])


class WrongAndSure(Judge):
    """Another label, and some probability of it."""

    name = "wrong_and_sure"

    def success(self, example, answer):
        return answer.label != example.label and answer.loss < 0.5


class ByHash(Judge):
    """Decides by what differs from process to process."""

    name = "by_hash"

    def success(self, example, answer):
        return hash(f"{example.text} {answer.loss:.6f}") % 2 == 0


@hookimpl
def harness_register_tasks(register):
    register(FromFile)
    register(TellsThePlace)


@hookimpl
def harness_register_judges(register):
    register(WrongAndSure)
    register(ByHash)
'''


def finding(folder: Path, name: str, params: dict[str, Any]) -> Any:
    (folder / "ours.py").write_text(PLUGINS)
    rows = [f"The {size} {colour} fox {verb}" for size in ("big", "small", "old") for colour in ("red", "grey", "blue")
            for verb in ("runs", "sleeps", "eats", "sings")]  # fmt: skip
    (folder / "rows.json").write_text(json.dumps(rows))
    registry = load_plugins([folder / "ours.py"]).registry
    return run_check(CHECKS[0], subject_of(name, params, registry))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("task/from_file", "ok"),
        ("task/tells_the_place", "failed"),
        ("judge/wrong_and_sure", "ok"),
        ("judge/by_hash", "failed"),
    ],
)
def test_what_holds_elsewhere_passes(name: str, status: str, tmp_path: Path) -> None:
    files = {"file": str(tmp_path / "rows.json"), "more": [str(tmp_path / "rows.json")]}
    found = finding(tmp_path, name, files if name.startswith("task") else {})
    assert found.status == status, found
    if status == "failed":
        assert "here" in found.got or "verified" in found.got.lower()


def test_a_class_that_no_other_process_can_load_is_not_run() -> None:
    from harness.testing import ToyJudge

    found = run_check(CHECKS[0], subject_of(ToyJudge, registry=load_plugins().registry))
    assert found.status == "skipped"
    assert "neither installed nor in a plugin file" in found.note
