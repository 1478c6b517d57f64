"""A package from outside, really installed: a spec uses all that it brings, and no file of ours knows of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.run.runs import harness_here

PACKAGE = Path(__file__).parents[1] / "kit" / "outside"

SPEC = """
name: outside
version: "1"
tasks: [{weather_or_food: {size: 100}}]
victims: [counts]
defenses: [none, longest_word, lower_case]
attacks: [{hill_climb: {steps: 6}}, {gcg: {steps: 3, candidates: 16, topk: 32}}]
threats: [{tokens: 4}]
seeds: [0, 1]
examples: 10
clean_examples: 40
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """An environment in which the package is installed and can be taken away again."""
    target = tmp_path_factory.mktemp("site")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        str(target),
    ]
    copy = tmp_path_factory.mktemp("source") / "outside"
    subprocess.run(["cp", "-r", str(PACKAGE), str(copy)], check=True)  # pip builds inside the source folder
    subprocess.run([*pip, str(copy)], check=True)
    return os.environ | {"PYTHONPATH": str(target)}


def harness(*arguments, environment, cwd):
    return subprocess.run(
        [sys.executable, "-P", "-m", "harness", *map(str, arguments)],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def done(environment, tmp_path_factory):
    """The spec, run where the package is installed."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "spec.yaml").write_text(SPEC)
    return folder, harness("run", "spec.yaml", "--json", environment=environment, cwd=folder)


@pytest.mark.slow
def test_a_spec_uses_all_that_the_package_brings(done):
    folder, ended = done
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["done"] == 12
    cells = [json.loads(path.read_text()) for path in (folder / "runs/outside/cells").glob("*/cell.json")]
    assert {cell["defense"]["name"] for cell in cells} == {"none", "longest_word", "lower_case"}
    assert {(cell["attack"]["name"], cell["attack"]["distribution"], cell["attack"]["version"]) for cell in cells} == {
        ("hill_climb", "harness-outside", "1.2.3"),
        ("gcg", "robustness-harness", cells[0]["versions"]["robustness-harness"]),
    }
    assert all(cell["n_clean_correct"] / cell["n_clean"] > 0.9 for cell in cells)


@pytest.mark.slow
def test_what_a_transform_costs_is_booked_to_the_defense(done):
    import pyarrow.parquet as pq

    folder, _ = done
    cells = [*(folder / "runs/outside/cells").glob("*/cell.json")]
    assert len(cells) == 12
    for path in cells:
        cell = json.loads(path.read_text())
        spent = sum(pq.read_table(path.parent / "steps.parquet")["defense_nominal"].to_pylist())
        assert (spent > 0) == (cell["defense"]["name"] == "lower_case")


@pytest.mark.slow
def test_without_the_package_the_spec_says_what_is_missing(tmp_path):
    (tmp_path / "spec.yaml").write_text(SPEC)
    failed = harness_here("run", "spec.yaml", cwd=tmp_path)
    assert failed.returncode == 2
    assert "spec.yaml:4" in failed.stderr
    assert "weather_or_food" in failed.stderr
    assert "Traceback" not in failed.stderr
