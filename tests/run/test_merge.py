"""Shards, merged, are the whole run: record for record, however they were cut, killed, or mixed up."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from subprocess import CompletedProcess

import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from harness.run import merge as merging
from tests.run.runs import (
    FAST,
    FROM_FILES,
    TINY,
    Started,
    harness_here,
    nothing_half_written,
    one_seed,
    records,
    status,
)

CELLS = 4
SPEC = FAST + "seeds: [0, 1]\n"
FILES = (
    FAST.replace(
        "{weather_or_food: {size: 40}}",
        "{text_classification: {path: data.csv, text_column: text, label_column: label, labels: [no, yes]}}",
    )
    + "seeds: [0, 1]\n"
)


def run(folder: Path, *options: object) -> CompletedProcess[str]:
    return harness_here("run", "spec.yaml", "--quiet", *options, *FROM_FILES, cwd=folder)


def merge(folder: Path, *arguments: object) -> CompletedProcess[str]:
    done = harness_here("merge", *arguments, cwd=folder)
    assert "Traceback" not in done.stderr
    return done


def shard(i: int, n: int) -> str:
    return f"runs/fast-shard-{i}-of-{n}"


def shards(n: int) -> list[str]:
    return [shard(i, n) for i in range(1, n + 1)]


def refused(done: CompletedProcess[str], *words: str) -> None:
    """One error in words, status 2."""
    assert done.returncode == 2, done.stdout
    assert done.stderr.startswith("error: ")
    for word in words:
        assert word in done.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the whole run in ``whole``, and two shards of it."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "spec.yaml").write_text(SPEC)
    assert run(folder, "--out", "whole").returncode == 0
    for i in (1, 2):
        assert run(folder, "--shard", f"{i}/2").returncode == 0
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def cells(root: Path) -> list[Path]:
    return sorted((root / "cells").iterdir())


@pytest.mark.parametrize("n", [1, 2, 3, pytest.param(CELLS + 2, marks=pytest.mark.slow)])
def test_shards_merged_are_the_whole_run(folder: Path, n: int) -> None:
    for i in range(1, n + 1):
        done = run(folder, "--shard", f"{i}/{n}")
        assert done.returncode == 0, done.stderr
        held = status(folder / shard(i, n))
        assert held["shard"] == [i, n]
        assert held["counts"] == {"done": held["expected"], "failed": 0, "begun": 0, "missing": 0}
    assert sum(status(folder / root)["expected"] for root in shards(n)) == CELLS
    assert not list(folder.glob("runs/*-shard-*/artifacts")), "one store for all"
    done = merge(folder, *shards(n))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "4 of 4 cells, 4 of them new: runs/fast\n"
    assert records(folder / "runs/fast") == records(folder / "whole")
    assert nothing_half_written(folder / "runs/fast")
    held = status(folder / "runs/fast")
    assert (held["expected"], held["counts"]["done"], held["shard"]) == (CELLS, CELLS, None)
    ignored = ("created",)
    manifests = [json.loads((folder / root / "run.json").read_text()) for root in ("runs/fast", "whole")]
    assert manifests[0] | dict.fromkeys(ignored) == manifests[1] | dict.fromkeys(ignored)


@pytest.mark.slow
def test_a_merged_run_is_a_run_as_any_other(folder: Path) -> None:
    merge(folder, *shards(2), "--out", "merged")
    again = harness_here("run", "spec.yaml", "--out", "merged", *FROM_FILES, cwd=folder)
    assert again.stderr == "4 cells, 4 done already\n"
    shown = [harness_here("leaderboard", "show", root, cwd=folder).stdout for root in ("merged", "whole")]
    assert shown[0].replace("merged", "whole") == shown[1]
    fits = [harness_here("fit", "attack-scaling", root, "--json", cwd=folder) for root in ("merged", "whole")]
    assert fits[0].stdout.replace("merged", "whole") == fits[1].stdout
    packed = harness_here("leaderboard", "pack", "merged", cwd=folder)
    assert packed.returncode == 0, packed.stderr


def test_a_shard_is_its_share_alone(folder: Path) -> None:
    refused(harness_here("leaderboard", "pack", shard(1, 2), cwd=folder), shard(1, 2), "harness merge")
    assert f", {'shard 1 of 2'}" in harness_here("status", shard(1, 2), cwd=folder).stdout
    again = harness_here("run", "spec.yaml", "--shard", "1/2", *FROM_FILES, cwd=folder)
    assert again.stderr == "shard 1 of 2: 2 of the 4 cells of the spec\n2 cells, 2 done already\n"


def test_a_folder_with_something_else_is_refused(folder: Path) -> None:
    refused(run(folder, "--out", shard(1, 2)), "holds shard 1 of 2", "give --shard 1/2")
    refused(run(folder, "--out", shard(1, 2), "--shard", "2/2"), "holds shard 1 of 2")
    refused(run(folder, "--out", shard(1, 2), "--shard", "1/3"), "holds shard 1 of 2")
    refused(run(folder, "--out", "whole", "--shard", "1/2"), "holds a whole run", "leave --shard out")
    refused(merge(folder, "whole", "--out", shard(1, 2)), "holds shard 1 of 2", "another --out")
    refused(run(folder, "--shard", "1/2", "--site", "site"), "--site", "harness merge")
    refused(run(folder, "--shard", "3/2"), "--shard 3/2")


def test_the_store_is_beside_the_shard_when_its_folder_is_given(folder: Path) -> None:
    assert run(folder, "--shard", "1/2", "--out", "mine").returncode == 0
    assert (folder / "mine/artifacts").is_dir()
    assert run(folder, "--shard", "2/2", "--out", "other", "--store", "models").returncode == 0
    assert not (folder / "other/artifacts").exists()
    assert merge(folder, "mine", "other", shard(1, 2), "--out", "merged").returncode == 0
    assert records(folder / "merged") == records(folder / "whole")


def test_what_is_missing_is_named(folder: Path) -> None:
    refused(merge(folder, shard(2, 2)), "shard 1 of 2: not given", "--partial")
    assert not (folder / "runs/fast/run.json").exists()
    first, second = cells(folder / shard(1, 2))
    for file in ("cell.json", "steps.parquet", "examples.parquet"):
        (first / file).unlink()
    (first / "journal.jsonl").write_text("")
    shutil.rmtree(second)
    begun = f"{shard(1, 2)}/cells/{first.name}: begun"
    refused(merge(folder, *shards(2)), begun, f"{shard(1, 2)}: 1 cell not begun")
    done = merge(folder, *shards(2), "--partial", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["cells"], found["finished"], found["copied"], len(found["absent"])) == (4, 2, 2, 2)
    assert status(folder / "runs/fast")["counts"] == {"done": 2, "failed": 0, "begun": 0, "missing": 2}
    assert run(folder).returncode == 0, "the rest is done in the merged run"
    assert records(folder / "runs/fast") == records(folder / "whole")


def test_a_failed_cell_is_named_with_its_reason(folder: Path) -> None:
    victim = cells(folder / shard(1, 2))[0]
    cell = json.loads((victim / "cell.json").read_text())
    (victim / "cell.json").write_text(json.dumps(cell | {"status": "failed", "error": "out of paper"}))
    refused(merge(folder, *shards(2)), str(victim.name), "failed", "weather_or_food × counts", "out of paper")
    done = merge(folder, *shards(2), "--partial")
    assert done.returncode == 0
    assert "out of paper" in done.stderr
    assert done.stdout == "3 of 4 cells, 3 of them new: runs/fast\n"
    assert run(folder, "--shard", "1/2").returncode == 0
    assert merge(folder, *shards(2)).stdout == "4 of 4 cells, 1 of them new: runs/fast\n"
    assert records(folder / "runs/fast") == records(folder / "whole")


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("cell.json", "cut"),
        ("cell.json", "another cell's"),
        ("steps.parquet", "cut"),
        ("examples.parquet", "gone"),
        ("examples.parquet", "lacks a row"),
    ],
)
def test_a_damaged_cell_is_named_and_left_out(folder: Path, file: str, damage: str) -> None:
    first, second = cells(folder / shard(2, 2))
    match damage:
        case "cut":
            (first / file).write_bytes((first / file).read_bytes()[:-20])
        case "gone":
            (first / file).unlink()
        case "another cell's":
            shutil.copyfile(second / file, first / file)
        case "lacks a row":
            pq.write_table(pq.read_table(first / file).slice(1), first / file)
    refused(merge(folder, *shards(2)), f"{first.name}/{file}")
    assert not (folder / "runs/fast/run.json").exists()
    done = merge(folder, *shards(2), "--partial")
    assert done.returncode == 1
    assert f"damaged: {shard(2, 2)}/cells/{first.name}/{file}" in done.stderr
    assert first.name not in records(folder / "runs/fast")
    assert len(records(folder / "runs/fast")) == 3


def test_results_that_contradict_each_other_are_named(folder: Path) -> None:
    shutil.copytree(folder / shard(1, 2), folder / "copy")
    held = cells(folder / "copy")[0]
    cell = json.loads((held / "cell.json").read_text())
    told = cell | {"seconds": 9.0, "started": "", "host": {"system": "Other"}, "versions": {}, "agreement": {"a": 1}}
    (held / "cell.json").write_text(json.dumps(told))
    steps = pq.read_table(held / "steps.parquet")
    names = steps.column_names
    slower = steps.set_column(names.index("seconds"), "seconds", [[2.0] * len(steps)])
    pq.write_table(slower, held / "steps.parquet")
    assert merge(folder, *shards(2), "copy", "--out", "merged").returncode == 0, "when and where do not count"
    other = slower.set_column(names.index("queries"), "queries", [[7] * len(steps)])
    pq.write_table(other, held / "steps.parquet")
    both = (f"{shard(1, 2)}/cells/{held.name}", f"copy/cells/{held.name}", "steps.parquet: column queries")
    refused(merge(folder, *shards(2), "copy", "--partial"), *both)
    assert not (folder / "runs/fast/run.json").exists()
    refused(merge(folder, shard(2, 2), "copy", "--out", "merged"), "merged/cells", "copy/cells")
    (held / "cell.json").write_text(json.dumps(cell | {"n_clean_correct": 3}))
    refused(merge(folder, *shards(2), "copy"), "cell.json: n_clean_correct")


def test_parts_of_whole_runs_are_merged_too(folder: Path) -> None:
    shutil.copytree(folder / "whole", folder / "a")
    shutil.copytree(folder / "whole", folder / "b")
    for path in cells(folder / "a")[:2]:
        shutil.rmtree(path)
    for path in cells(folder / "b")[3:]:
        shutil.rmtree(path)
    refused(merge(folder, "b", "--out", "c"), "1 cell not begun in any of these runs")
    assert merge(folder, "a", "b", "--out", "c").stdout == "4 of 4 cells, 4 of them new: c\n"
    assert merge(folder, "a", "b", "--out", "a").stdout == "4 of 4 cells, 2 of them new: a\n"
    assert records(folder / "c") == records(folder / "a") == records(folder / "whole")


def test_shards_of_other_cuts_or_specs_do_not_mix(folder: Path) -> None:
    assert run(folder, "--shard", "1/3").returncode == 0
    refused(merge(folder, *shards(2), shard(1, 3)), "shard 1 of 3", "shard 1 of 2", "two different splits")
    (folder / "spec.yaml").write_text(FAST)
    assert run(folder, "--out", "other").returncode == 0
    refused(merge(folder, *shards(2), "other"), "other: a run of spec fast 1", "merge only runs of one spec")
    refused(merge(folder, *shards(2), "--out", "other"), "other: a run of spec fast 1")
    refused(merge(folder, "nowhere"), "nowhere: no run there")
    (folder / shard(1, 2) / "run.json").write_text("{")
    refused(merge(folder, *shards(2)), f"{shard(1, 2)}/run.json: damaged")


def rows(word: str) -> str:
    lines = [f"{word} number {i} is {'sun' if i % 2 else 'rain'},{'yes' if i % 2 else 'no'}" for i in range(60)]
    return "\n".join(["text,label", *lines, ""])


def test_shards_of_two_states_of_the_data_do_not_mix(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(FILES)
    (tmp_path / "data.csv").write_text(rows("day"))
    assert run(tmp_path, "--shard", "1/2").returncode == 0
    (tmp_path / "data.csv").write_text(rows("night"))
    assert run(tmp_path, "--shard", "2/2").returncode == 0
    refused(merge(tmp_path, *shards(2)), f"{shard(2, 2)}: found other data")
    refused(run(tmp_path, "--shard", "1/2"), "other data")
    shutil.rmtree(tmp_path / shard(1, 2))
    assert run(tmp_path, "--shard", "1/2").returncode == 0
    assert merge(tmp_path, *shards(2)).returncode == 0


def test_a_shard_that_cannot_know_the_cut_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(FILES.replace("tasks: [", "tasks: [{weather_or_food: {size: 40}}, "))
    done = run(tmp_path, "--shard", "1/2")
    refused(done, "shard 1 of 2: 4 cells of the spec without a key", "data.csv")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / shard(1, 2) / "run.json").exists()
    (tmp_path / "data.csv").write_text(rows("day"))
    assert run(tmp_path, "--shard", "1/2").returncode == 0


def test_a_merge_that_was_killed_is_done_by_the_same_command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = merging._copy_file
    for files in (0, 1, 4, 5):
        left = files

        def failing(source: Path, to: Path) -> None:
            nonlocal left
            copy(source, to)
            left -= 1
            if left < 0:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(merging, "_copy_file", failing)
            assert merge(folder, *shards(2)).returncode == 130
        counts = status(folder / "runs/fast")["counts"]
        assert counts["done"] + counts["missing"] == CELLS
        assert counts["done"] < CELLS
        assert all(len(list(path.iterdir())) == 3 for path in (folder / "runs/fast").glob("cells/*"))
    assert merge(folder, *shards(2)).returncode == 0
    assert records(folder / "runs/fast") == records(folder / "whole")
    assert not (folder / "runs/fast/.merging").exists()


def test_what_is_unfinished_in_the_target_gives_way(folder: Path) -> None:
    merge(folder, *shards(2))
    first, second, *_ = cells(folder / "runs/fast")
    (first / "cell.json").unlink()
    (first / "journal.jsonl").write_text("")
    (second / "steps.parquet").write_bytes(b"")
    assert merge(folder, *shards(2)).stdout == "4 of 4 cells, 2 of them new: runs/fast\n"
    assert records(folder / "runs/fast") == records(folder / "whole")
    assert nothing_half_written(folder / "runs/fast")
    assert not (first / "journal.jsonl").exists() or (first / "cell.json").exists()


def test_a_target_that_is_in_use_is_left_alone(folder: Path) -> None:
    (folder / "runs/fast").mkdir(exist_ok=True)
    with FileLock(folder / "runs/fast/.lock"):
        refused(merge(folder, *shards(2)), "runs/fast: another process")
    assert not (folder / "runs/fast/run.json").exists()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the whole run, in ``whole``, of a spec that trains a model and a defense."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "spec.yaml").write_text(one_seed(TINY.replace("tiny-run", "fast")))
    assert harness_here("run", "spec.yaml", "--out", "whole", "--quiet", cwd=folder).returncode == 0
    return folder


def start(folder: Path, i: int, *options: str) -> Started:
    return Started("run", "spec.yaml", "--shard", f"{i}/2", *options, cwd=folder)


@pytest.mark.slow
def test_a_shard_that_was_killed_goes_on(trained: Path, tmp_path: Path) -> None:
    shutil.copyfile(trained / "spec.yaml", tmp_path / "spec.yaml")
    begun = start(tmp_path, 1)
    assert begun.wait_for("attack "), begun.stderr
    time.sleep(0.2)
    begun.kill()
    begun.end()
    assert status(tmp_path / shard(1, 2))["counts"]["done"] < 3
    for i in (1, 2):
        assert harness_here("run", "spec.yaml", "--shard", f"{i}/2", "--quiet", cwd=tmp_path).returncode == 0
    assert merge(tmp_path, *shards(2)).returncode == 0
    assert records(tmp_path / "runs/fast") == records(trained / "whole")


@pytest.mark.slow
def test_shards_at_once_make_each_model_once(trained: Path, tmp_path: Path) -> None:
    shutil.copyfile(trained / "spec.yaml", tmp_path / "spec.yaml")
    both = [start(tmp_path, 1), start(tmp_path, 2)]
    assert [begun.end() for begun in both] == [0, 0], [begun.stderr for begun in both]
    lines = [line.lstrip("0123456789: ") for begun in both for line in begun.stderr.splitlines()]
    stages = [line for line in lines if not line.endswith(("%", "FLOP"))]  # a slow machine tells how far it is as well
    for stage, count in (("prepare tiny", 1), ("adversarial_training round 1 for", 1), ("attack word_length", 6)):
        assert sum(line.startswith(stage) for line in stages) == count, stages
    assert merge(tmp_path, *shards(2)).returncode == 0
    assert records(tmp_path / "runs/fast") == records(trained / "whole")
