"""`harness bench`: real paths of a real, tiny model through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.engine.torch.scoring.strategy_names import LETTERS
from tests.cli.test_plugins import HEAVY, imported
from tests.engine.hub_models import write_folder
from tests.run.runs import harness_here

TINY = ("--size", "60k", "--prefix", 30, "--suffix", 8, "--candidates", 64, "--rounds", 2, "--device", "cpu")
TORCH = ("--path", "A", "--path", "packed", "--path", "D")


def bench(*arguments: object, cwd: Path) -> dict[str, Any]:
    done = harness_here("bench", *arguments, "--json", cwd=cwd)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_scoring_times_every_path_that_works_here(tmp_path: Path) -> None:
    found = bench("scoring", *TINY, cwd=tmp_path)
    assert found["what"] == "scoring"
    assert found["model"]["parameters"] == 58_240
    assert (found["model"]["head"], found["model"]["dtype"]) == ("generation", "float32")
    shape = {"prefix": 30, "suffix": 8, "tail": 4, "candidates": 64, "examples": 1, "positions": "one"}
    assert found["shape"] == shape
    assert found["machine"]["threads"] >= 1
    assert found["gemm"]["peak_flops_per_second"] > 1e8
    assert found["gemm"]["own_shapes_flops_per_second"] > 1e7
    paths = {path["strategy"]: path for path in found["paths"]}
    assert {"full", "packed", "packed_reuse"} <= paths.keys()
    assert {name: path["path"] for name, path in paths.items() if name in LETTERS} == {
        name: LETTERS[name] for name in paths if name in LETTERS
    }
    for path in paths.values():
        assert path["asked"] == path["path"]
        assert path["largest_difference"] <= found["tolerance"] == 1e-4
        assert len(path["seconds"]) == 2
        assert path["candidates_per_second"] > 0
        assert 0 < path["share_of_peak"] < 1.5
    assert (paths["full"]["candidates"], paths["packed_reuse"]["candidates"]) == (8, 64)
    per_candidate = {name: path["executed_flops"] / path["candidates"] for name, path in paths.items()}
    assert per_candidate["full"] > per_candidate["packed"] > per_candidate["packed_reuse"]
    assert {entry["strategy"] for entry in found["left_out"]} == {*LETTERS, "vllm"} - paths.keys()


@pytest.mark.slow
def test_scoring_of_many_examples_with_all_positions_changed(tmp_path: Path) -> None:
    found = bench("scoring", *TINY, *TORCH, "--examples", 3, "--positions", "all", cwd=tmp_path)
    paths = {path["strategy"]: path for path in found["paths"]}
    assert paths["packed_reuse"]["candidates"] == 192
    no_reuse = paths["packed"]["executed_flops"]
    assert paths["packed_reuse"]["executed_flops"] == no_reuse, "there is no current string to reuse"
    assert max(path["largest_difference"] for path in paths.values()) <= 1e-4


@pytest.mark.slow
def test_scoring_of_a_classifier_in_a_folder(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model", "gpt_neox")
    found = bench("scoring", "--model", folder, *TINY[2:], "--path", "auto", cwd=tmp_path)
    assert found["model"]["head"] == "classification"
    assert found["model"]["source"] == str(folder)
    (path,) = found["paths"]
    assert (path["asked"], path["path"], path["strategy"]) == ("auto", "D", "packed_reuse")
    assert path["largest_difference"] <= 1e-4


@pytest.mark.slow
def test_a_whole_iteration_is_split(tmp_path: Path) -> None:
    found = bench("gcg", *TINY, *TORCH, "--examples", 2, cwd=tmp_path)
    assert found["attack"] == "gcg"
    for path in found["paths"]:
        assert path["parts"].keys() == {"gradient", "sampling", "filter", "scoring", "other"}
        assert all(seconds > 0 for seconds in path["parts"].values())
        assert sum(path["parts"].values()) == pytest.approx(path["iteration_seconds"], rel=0.5)
        assert path["candidates"] == 128
        assert 0 < path["share_of_peak"] < 1.5
    full, packed, packed_reuse = (path["executed_flops"] for path in found["paths"])
    assert full > packed > packed_reuse


@pytest.mark.slow
def test_another_attack_written_as_in_a_spec(tmp_path: Path) -> None:
    attack = "{random_token: {draws: 9}}"
    found = bench("gcg", *TINY, "--path", "auto", "--attack", attack, cwd=tmp_path)
    assert found["attack"] == "random_token"
    assert found["paths"][0]["candidates"] == 9
    assert found["paths"][0]["parts"]["gradient"] == 0


@pytest.mark.slow
def test_what_people_see(tmp_path: Path) -> None:
    done = harness_here("bench", "scoring", *TINY, *TORCH, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "58,240 parameters" in done.stderr
    assert "2 rounds of full, packed, packed_reuse in turns" in done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[:4]] == ["path", "full", "packed", "packed_reuse"]
    assert "GEMM peak" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert max(map(len, done.stdout.splitlines()[:4])) <= 80
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("scoring", "--size", "7b"), "--size 7b: no such size; write one of 60k, 1.7m, 21m, 1.4b"),
        (("scoring", "--path", "E"), "--path E: no such path; write one of auto, full (A), copied_prefix (B)"),
        (("scoring", "--positions", "two"), "--positions two: write one or all"),
        (("scoring", *TINY, "--tail", 0), "at least one"),
        (("scoring", *TINY, "--dtype", "int8"), "dtype 'int8': write auto"),
        (("scoring", "--size", "60k", "--prefix", 5000), "5024 tokens, the model takes 2048"),
        (("scoring", "--model", "nowhere/at/all"), "--model nowhere/at/all: no model can be found there"),
        (("gcg", *TINY, "--attack", "gcgg"), "no attack is called 'gcgg'"),
        (("gcg", *TINY, "--attack", "{gcg: 3}"), "--attack {gcg: 3}: write a plugin's name"),
        (("gcg", *TINY, "--attack", "{gcg: {topk: -1}}"), "topk"),
    ],
)
def test_a_mistake_is_one_clear_error(arguments: tuple[object, ...], words: str, tmp_path: Path) -> None:
    done = harness_here("bench", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert words in done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_help_is_light() -> None:
    assert not imported("bench", "scoring", "--help") & {*HEAVY, "numpy"}


@pytest.mark.parametrize("command", ["scoring", "gcg"])
def test_help_lists_every_strategy_and_its_letter(command: str, tmp_path: Path) -> None:
    shown = " ".join(harness_here("bench", command, "--help", cwd=tmp_path).stdout.replace("│", " ").split())
    for name, letter in LETTERS.items():
        assert f"{name} ({letter})" in shown
