"""A run of plugins that read files is verified from a folder without their data, and replayed where they lie."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.run.runs import FROM_FILES, harness_here

PLUGINS = '''
import json

from harness import Attack, Chunk, Edit, Example, Judge, Score, SpecPath, Task, TaskData, hookimpl


class FromLines(Task):
    """Rows of a JSON file: is it about the weather or about food?"""

    name = "from_lines"

    class Params(Task.Params):
        file: SpecPath

    def load(self):
        splits = json.loads(self.params.file.read_text())
        return TaskData((" WEATHER", " FOOD"), *([self.example(s, i, *row) for i, row in enumerate(splits[s])]
                                                 for s in ("train", "validation")))

    def example(self, split, i, text, label):
        return Example(f"{split}-{i}", (Chunk(text), Chunk("", Edit.OVERWRITABLE)), label, 1 - label)


class FromList(Attack):
    """Strings of a file, one per step."""

    name = "from_list"
    access = "text"

    class Params(Attack.Params):
        file: SpecPath

    def start(self, problem, rng):
        return problem.state(problem.random_tokens(rng))

    def step(self, state, problem, rng):
        yield from ()
        word = json.loads(self.params.file.read_text())["word"]
        tokens = problem.fitted(" " + word)
        return state if tokens is None else problem.state(tokens)


class Counted(Judge):
    """Wrong, by the labels that a file lists."""

    name = "counted"

    class Params(Judge.Params):
        file: SpecPath

    def success(self, example, answer):
        return answer.label != example.label and answer.label in json.loads(self.params.file.read_text())["labels"]


@hookimpl
def harness_register_tasks(register):
    register(FromLines)


@hookimpl
def harness_register_attacks(register):
    register(FromList)


@hookimpl
def harness_register_judges(register):
    register(Counted)
'''

SPEC = """
name: of-files
version: "1"
tasks: [{from_lines: {file: data/rows.json}}]
victims: [counts]
attacks: [{from_list: {file: data/words.json, steps: 2}}]
judge: {counted: {file: data/labels.json}}
threats: [{tokens: 4}]
examples: 6
"""


def write_data(folder: Path) -> None:
    weather, food = ["rain", "snow", "wind", "storm"], ["bread", "soup", "rice", "apple"]
    pairs = [(f"{one} {other} {third}", int(words is food)) for words in (weather, food) for one in words
             for other in words for third in words]  # fmt: skip
    data = {"rows.json": {"train": pairs[::2], "validation": pairs[1::2]}, "words.json": {"word": "bread"}}
    for name, content in (data | {"labels.json": {"labels": [0, 1]}}).items():
        (folder / "data").mkdir(parents=True, exist_ok=True)
        (folder / "data" / name).write_text(json.dumps(content))


@pytest.mark.slow
def test_from_another_folder(tmp_path: Path) -> None:
    here, there, bare = tmp_path / "here", tmp_path / "there", tmp_path / "bare"
    for folder in (here, there):
        write_data(folder)
        (folder / "spec.yaml").write_text(SPEC)
    (bare / "data").mkdir(parents=True)
    shutil.copy(here / "data" / "labels.json", bare / "data")  # what its judge reads
    (tmp_path / "ours.py").write_text(PLUGINS)
    plugins = [*FROM_FILES, f"--plugin={tmp_path / 'ours.py'}"]

    def ended(folder: Path, *words: object) -> tuple[int, str]:
        done = harness_here(*plugins, *words, cwd=folder)
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    assert ended(here, "run", "spec.yaml", "--out", "run", "--quiet", "--jobs", "0")[0] == 0
    assert ended(here, "leaderboard", "pack", "run", "--out", "../it.zip")[0] == 0
    assert ended(there, "leaderboard", "verify", "../it.zip", "--replay", 8, "--spec", "spec.yaml")[0] == 0
    assert ended(bare, "leaderboard", "verify", "../it.zip")[0] == 0
    (there / "data" / "labels.json").write_text(json.dumps({"labels": [1]}))
    code, said = ended(there, "leaderboard", "verify", "../it.zip")
    assert code == 1
    assert "a file that its judge or a defense names is missing or different here" in said
    write_data(there)
    (there / "data" / "words.json").write_text(json.dumps({"word": "soup"}))
    code, said = ended(there, "leaderboard", "verify", "../it.zip", "--replay", 8, "--spec", "spec.yaml")
    assert code == 1
    assert "its search is" in said
