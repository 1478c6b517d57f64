"""Whole runs with vLLM answering: the records are those of torch's, however the engine fares."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.processes import LONGEST
from tests.run.runs import ENGINE, Started, harness, records
from tests.run.same import difference

pytestmark = [pytest.mark.vllm, pytest.mark.slow]
QUICKSTART = Path(__file__).parents[3] / "specs" / "quickstart_vllm.yaml"


def small(backend: str) -> dict[str, Any]:
    """The quickstart, one task, one victim and few examples of it, undefended."""
    spec: dict[str, Any] = yaml.safe_load(QUICKSTART.read_text())
    spec["tasks"] = [{"word_length": spec["tasks"][0]["word_length"] | {"train_size": 2000, "validation_size": 60}}]
    spec["victims"] = [{"tiny": spec["victims"][0]["tiny"] | {"steps": 150, "backend": backend}}]
    del spec["defenses"]
    attacks = {name: params for attack in spec["attacks"] for name, params in attack.items()}
    spec["attacks"] = [{"random_token": attacks["random_token"]}, {"gcg": attacks["gcg"]}]
    return spec | {"seeds": [0], "examples": 12, "clean_examples": 60}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    for backend in ("torch", "vllm", "auto"):
        (root / f"{backend}.yaml").write_text(yaml.safe_dump(small(backend)))
    return root


@pytest.fixture(scope="module")
def torch_run(root: Path) -> dict[str, Any]:
    done = harness("run", "torch.yaml", "--out", "torch", "--store", "store", "--quiet", cwd=root)
    assert done.returncode == 0, done.stderr
    return records(root / "torch")


def assert_same(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Losses to rounding, and everything that is counted or decided exactly. Executed FLOPs are each engine's own."""
    assert set(ours) == set(theirs), "the same cells: who answers is no part of a cell"
    assert len(ours) == 2
    assert difference(ours, theirs) == ""
    assert all(steps for _, steps, _ in ours.values())
    assert all(row["attack_executed"] > 0 for _, steps, _ in ours.values() for row in steps)
    assert {row["success"] for cell in theirs.values() for row in cell[1]} == {True, False}, "there is a curve"


def started(root: Path, name: str) -> Started:
    return Started("run", "vllm.yaml", "--out", name, "--store", "store", cwd=root)


def engine_of(run: Started, ready: Callable[[], bool]) -> psutil.Process:
    """The engine's process, once something has come about."""
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        found = run.running(ENGINE)
        if found and ready():
            return found[0]
        time.sleep(0.01)
    raise AssertionError(f"no engine: {run.stderr}")


def facts(out: Path, root: Path) -> list[dict[str, Any]]:
    return [cell["agreement"] for cell, _, _ in records(root / out).values()]


def test_the_curves_are_those_of_torch(root: Path, torch_run: dict[str, Any]) -> None:
    run = started(root, "vllm")
    assert run.end() == 0, run.stderr
    assert_same(records(root / "vllm"), torch_run)
    for told in facts(Path("vllm"), root):
        assert told["routes"] == {"gradient": "torch", "classify": "vllm", "score": "vllm"}
        assert told["vllm"]["agreement"]["difference"] <= told["vllm"]["agreement"]["tolerance"]
        assert told["vllm"]["engine"]["starts"] == 1


def test_an_engine_killed_in_the_middle_costs_nothing_but_time(root: Path, torch_run: dict[str, Any]) -> None:
    run = started(root, "killed")

    def under_way() -> bool:
        return any(path.stat().st_size > 2000 for path in root.glob("killed/cells/*/journal.jsonl"))

    engine_of(run, under_way).kill()
    assert run.end() == 0, run.stderr
    assert_same(records(root / "killed"), torch_run)
    assert max(told["vllm"]["engine"]["starts"] for told in facts(Path("killed"), root)) == 2


def test_a_killed_run_leaves_no_engine_behind(root: Path, torch_run: dict[str, Any]) -> None:
    run = started(root, "parentless")
    engine = engine_of(run, lambda: any((root / "parentless" / "cells").glob("*/journal.jsonl")))
    family = [engine, *engine.children(recursive=True)]
    run.process.kill()  # it alone
    assert psutil.wait_procs(family, timeout=LONGEST)[1] == []
    run.end()


def test_auto_measures_once_per_victim(root: Path, torch_run: dict[str, Any]) -> None:
    arguments = ("run", "auto.yaml", "--store", "store", "--quiet", "--out")
    for out in ("auto", "again"):
        done = harness(*arguments, out, cwd=root)
        assert done.returncode == 0, done.stderr
        assert_same(records(root / out), torch_run)
    (kept,) = (root / "store" / ".calibration").glob("*.json")
    first, again = facts(Path("auto"), root), facts(Path("again"), root)
    assert all(told["calibration"] == first[0]["calibration"] for told in first + again)
    seconds = first[0]["calibration"]
    assert set(seconds) == {"classify", "score"}
    for sort, told in seconds.items():
        assert first[0]["routes"][sort] == min(told, key=told.get)
    assert kept.stat().st_mtime < (root / "again").stat().st_ctime
