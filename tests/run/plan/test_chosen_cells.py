"""`--only`: the cells that are named, and no others; what names none is an error that says what there is."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest

from harness.errors import RunError
from harness.records.planned import PlannedCell
from harness.run.plan.chosen_cells import chosen_keys
from tests.run.runs import FAST, FROM_FILES, harness_here

CELLS = [
    PlannedCell(
        f"{victim}-{defense}-{seed}", "t", "suffix, 4 tokens, scores", "text", victim, defense, None, "gcg", seed
    )
    for victim, defense, seed in product(("tiny(size=7k)", "tiny(size=26k)"), ("none", "a=b"), (0, 1))
]


@pytest.mark.parametrize(
    ("only", "found"),
    [
        ([], {cell.key for cell in CELLS}),
        (["victim=tiny(size=7k)", "seed=1"], {"tiny(size=7k)-none-1", "tiny(size=7k)-a=b-1"}),
        (
            ["seed=0", "seed=1", "defense=a=b", "victim=tiny(size=26k)"],
            {"tiny(size=26k)-a=b-0", "tiny(size=26k)-a=b-1"},
        ),
        (["threat=suffix, 4 tokens, scores", "task=t"], {cell.key for cell in CELLS}),
    ],
)
def test_labels_choose_cells(only: list[str], found: set[str]) -> None:
    assert chosen_keys(CELLS, only) == found


@pytest.mark.parametrize(
    ("only", "told"),
    [
        ("victims=x", "did you mean 'victim'"),
        ("victim", "write KIND=LABEL"),
        ("victim=tiny(size=8k)", r"did you mean 'tiny\(size=7k\)'.* There are: tiny\(size=26k\); tiny"),
    ],
)
def test_what_names_no_cell_is_an_error(only: str, told: str) -> None:
    with pytest.raises(RunError, match=told):
        chosen_keys(CELLS, [only])


def test_labels_that_no_cell_has_together_are_an_error() -> None:
    apart = [CELLS[0], CELLS[-1]]
    with pytest.raises(RunError, match="no cell fits all of this"):
        chosen_keys(apart, ["victim=tiny(size=7k)", "seed=1"])


@pytest.mark.slow
def test_a_run_does_what_is_chosen_and_then_the_rest(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(FAST)
    start = ["run", "spec.yaml", "--out", "out", *FROM_FILES]
    refused = harness_here(*start, "--only", "attack=hill", cwd=tmp_path)
    assert refused.returncode == 2
    assert "There are: hill_climb; random_token" in refused.stderr
    done = harness_here(*start, "--only", "attack=hill_climb", "--only", "victim=counts", cwd=tmp_path)
    assert "1 cell done, 0 failed" in done.stdout, done.stderr
    whole = harness_here(*start, cwd=tmp_path)
    assert "2 cells done, 0 failed" in whole.stdout
    order = sorted(tmp_path.glob("out/cells/*/cell.json"), key=lambda path: path.stat().st_mtime_ns)
    assert [json.loads(path.read_text())["attack"]["label"] for path in order] == ["hill_climb", "random_token"]
