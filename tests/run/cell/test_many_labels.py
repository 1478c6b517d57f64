"""A task of three labels, some examples of which are not attacked: run, judged, packed, verified and replayed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.api.task import Chunk, Edit, Example, TaskData
from harness.records.read import read_run
from harness.run.cell.clean_check import NOT_ATTACKABLE
from tests.run.runs import FROM_FILES, harness_here

PLUGINS = '''
from harness import Chunk, Edit, Example, Judge, Task, TaskData, hookimpl

WORDS = [["rain", "snow", "wind", "storm"], ["bread", "soup", "rice", "apple"], ["fox", "horse", "cat", "goose"]]


class ThreeKinds(Task):
    """Weather, food or animals? Animals are not attacked, and of the others any wrong answer will do."""

    name = "three_kinds"

    class Params(Task.Params):
        targeted: bool = False

    def load(self):
        texts = [(f"{a} {b} {c}", k) for a in range(4) for b in range(4) for c in range(4) for k in range(3)]
        rows = [(" ".join(WORDS[k][int(i)] for i in text.split()), k) for text, k in texts]
        return TaskData((" WEATHER", " FOOD", " ANIMAL"), self.examples("train", rows[::2]),
                        self.examples("validation", rows[1::2]))

    def examples(self, split, rows):
        return [
            Example(f"{split}-{i}", (Chunk(text), Chunk("", Edit.OVERWRITABLE)), label, self.proxy(label),
                    attackable=label != 2)
            for i, (text, label) in enumerate(rows)
        ]

    def proxy(self, label):
        return (label + 1) % 3 if self.params.targeted and label != 2 else -1


class Named(Judge):
    """The victim says ANIMAL."""

    name = "named"

    def success(self, example, answer):
        return answer.labels[answer.label] == " ANIMAL" != answer.labels[example.label]


@hookimpl
def harness_register_tasks(register):
    register(ThreeKinds)


@hookimpl
def harness_register_judges(register):
    register(Named)
'''

SPEC = """
name: many
version: "1"
tasks: [{{three_kinds: {{targeted: {targeted}}}}}]
victims: [counts]
defenses: [none, lower_case]
attacks: [{{gcg: {{steps: 3, candidates: 8}}}}, {{random_token: {{steps: 2, draws: 8}}}}, {{best_of_n: {{steps: 2}}}}]
threats: [{{tokens: 4}}]
judge: {judge}
examples: 24
"""


def ended(folder: Path, *words: object) -> None:
    plugins = [*FROM_FILES, f"--plugin={FROM_FILES[0].partition('=')[2].replace('task', 'defense')}"]
    done = harness_here(*plugins, f"--plugin={folder / 'ours.py'}", *words, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr


def rows_of(folder: Path, targeted: bool, judge: str) -> dict[str, tuple[list[Any], list[Any]]]:
    (folder / "ours.py").write_text(PLUGINS)
    (folder / "spec.yaml").write_text(SPEC.format(targeted=str(targeted).lower(), judge=judge))
    ended(folder, "run", "spec.yaml", "--out", "run", "--quiet", "--jobs", "0")
    return {
        f"{cell.record.attack.name} {cell.record.defense.name}": (cell.examples().to_pylist(), cell.steps().to_pylist())
        for cell in read_run(folder / "run")
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("targeted", "judge"), [(False, "wrong_label"), (False, "proxy_label"), (True, "proxy_label"), (False, "named")]
)
def test_a_run_with_three_labels(targeted: bool, judge: str, tmp_path: Path) -> None:
    cells = rows_of(tmp_path, targeted, judge)
    assert len(cells) == 6
    for examples, steps in cells.values():
        left_out = {row["example"] for row in examples if row["label"] == 2 and row["excluded"] == NOT_ATTACKABLE}
        assert left_out
        assert {row["label"] for row in examples if row["attacked"]} == {0, 1}
        assert not left_out & {row["example"] for row in steps}
        labels = {row["example"]: row["label"] for row in examples}
        for row in steps:
            label, said = labels[row["example"]], row["predicted"]
            wanted = said == (label + 1) % 3 if targeted else said == 2 if judge == "named" else said != label
            assert row["success"] == wanted
    assert any(row["success"] for _, steps in cells.values() for row in steps)
    ended(tmp_path, "leaderboard", "pack", "run", "--out", "it.zip")
    replay = ("--replay", 40, "--spec", "spec.yaml", "--store", "run/artifacts")
    ended(tmp_path, "leaderboard", "verify", "it.zip", *replay)
    ended(tmp_path, "leaderboard", "build", "run", "--out", "site")


def test_the_hash_is_what_it_was_where_all_are_attacked() -> None:
    def data(**fields: Any) -> TaskData:
        rows = [Example("a", (Chunk("x", Edit.OVERWRITABLE),), 0, 1, **fields)]
        return TaskData((" A", " B"), rows, rows)

    assert data().hash == data(attackable=True).hash
    assert data().hash.startswith("6703cf1c4fe0296c")  # as it was before there were others
    assert data(attackable=False).hash != data().hash
