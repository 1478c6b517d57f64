"""What goes wrong is recorded as such, the rest goes on, the exit status says so, and the next start tries again."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.records.read import read_run
from tests.run.runs import FAST, FROM_FILES, TINY, Started, harness, harness_here, nothing_half_written, records, status

pytestmark = pytest.mark.slow  # starts many processes

ODD = [*FROM_FILES, f"--plugin={Path(__file__).parent / 'odd_plugins.py'}"]


def write_spec(folder: Path, **changes: Any) -> Path:
    """The fast spec with some fields replaced."""
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(FAST) | changes))
    return path


def run(folder: Path, *options: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    apart = "-j" in options or kwargs
    start = harness if apart else harness_here
    done = start("run", "spec.yaml", "--out", "out", *ODD, *options, cwd=folder, **kwargs)
    assert "Traceback" not in done.stderr
    return done


def cells_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(out.glob("cells/*/cell.json"))]


@pytest.mark.parametrize("jobs", [[], pytest.param(["-j", "2"], marks=pytest.mark.slow)])
def test_a_cell_that_raises_is_recorded_and_the_others_go_on(tmp_path: Path, jobs: list[str]) -> None:
    mended = tmp_path / "mended"
    attacks = [{"raises": {"steps": 3, "mended": str(mended)}}, {"random_token": {"steps": 3, "draws": 4}}]
    write_spec(tmp_path, attacks=attacks, seeds=[0, 1])
    done = run(tmp_path, *jobs)
    assert done.returncode == 1
    assert "2 cells done, 2 failed: out" in done.stdout
    reason = "attack raises, example validation-00000, step 2: raised ValueError: no luck"
    assert (
        done.stderr.count(
            f"failed: weather_or_food × counts × none × raises × suffix, 4 tokens, gradient, seed 1: {reason}"
        )
        == 1
    )

    shown = harness_here("status", "out", cwd=tmp_path)
    assert shown.returncode == 1
    assert "2 done, 2 failed, 0 begun, 0 missing" in shown.stdout
    assert "no luck" in shown.stdout
    assert status(tmp_path / "out")["counts"]["failed"] == 2
    failed = read_run(tmp_path / "out").failed
    assert {record.error for record in failed} == {reason}
    assert all("ZeroDivision" not in (tmp_path / "out/cells" / r.key / "error.txt").read_text() for r in failed)
    assert "ValueError: no luck" in (tmp_path / "out/cells" / failed[0].key / "error.txt").read_text()

    whole = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/cells/*/steps.parquet")}
    mended.touch()
    again = run(tmp_path, *jobs)
    assert again.returncode == 0
    assert "4 cells done, 0 failed" in again.stdout
    assert harness_here("status", "out", cwd=tmp_path).returncode == 0
    assert all(path.stat().st_mtime_ns == at for path, at in whole.items()), "what was done is left alone"
    assert not list(tmp_path.glob("out/cells/*/error.txt"))
    assert not list(tmp_path.glob("out/cells/*/journal.jsonl"))
    for _, steps, _ in records(tmp_path / "out").values():
        assert [row["step"] for row in steps] == [1, 2, 3] * 6


def test_a_victim_that_cannot_be_prepared_is_tried_once(tmp_path: Path) -> None:
    tries = tmp_path / "tries"
    write_spec(tmp_path, victims=[{"unprepared": {"tries": str(tries)}}, "counts"])
    done = run(tmp_path, "--json")
    assert done.returncode == 1
    outcome = json.loads(done.stdout)
    assert outcome["done"] == 2
    assert [failed["error"] for failed in outcome["failed"]] == ["ValueError: broken beyond\nrepair"] * 2
    assert tries.read_text() == "x"
    assert {cell["error"] for cell in cells_of(tmp_path / "out")} == {None, "ValueError: broken beyond repair"}
    assert run(tmp_path).returncode == 1
    assert tries.read_text() == "xx"


@pytest.mark.parametrize("sort", ["none", "text", "numpy", "deep", "negative"])
def test_garbage_from_an_attack_stays_with_its_cell(tmp_path: Path, sort: str) -> None:
    write_spec(tmp_path, attacks=[{"garbage": {"sort": sort, "steps": 2}}, {"random_token": {"steps": 2, "draws": 2}}])
    done = run(tmp_path, "--json")
    outcome = json.loads(done.stdout)
    if sort == "negative":  # a string that breaks the threat model is a failed step, not an error
        assert (done.returncode, outcome["failed"]) == (0, [])
        cell = next(cell for cell in read_run(tmp_path / "out") if cell.record.attack.name == "garbage")
        assert set(cell.steps().column("failure").to_pylist()) == {"token not allowed"}
        return
    if sort == "numpy" and not outcome["failed"]:
        return  # numbers are numbers
    assert done.returncode == 1
    assert outcome["done"] == 1
    assert len(outcome["failed"]) == 1


def test_a_plugin_that_exits_takes_only_its_cell_with_it(tmp_path: Path) -> None:
    write_spec(tmp_path, attacks=["exits", {"random_token": {"steps": 2, "draws": 2}}])
    done = run(tmp_path, "--json")
    assert done.returncode == 1
    outcome = json.loads(done.stdout)
    assert outcome["done"] == 1
    assert "bye" in outcome["failed"][0]["error"]


@pytest.mark.slow
def test_a_cell_that_kills_its_process_is_given_up(tmp_path: Path) -> None:
    attacks = [{"exits": {"hard": True}}, {"random_token": {"steps": 2, "draws": 2}}]
    write_spec(tmp_path, attacks=attacks, seeds=[0, 1])
    done = run(tmp_path, "-j", "2", "--json")
    assert done.returncode == 1
    outcome = json.loads(done.stdout)
    assert outcome["done"] == 2
    assert len(outcome["failed"]) == 2
    assert all("its process died 2 times (exit status 9)" in failed["error"] for failed in outcome["failed"])
    assert status(tmp_path / "out")["counts"] == {"done": 2, "failed": 2, "begun": 0, "missing": 0}


@pytest.mark.parametrize("jobs", [[], pytest.param(["-j", "2"], marks=pytest.mark.slow)])
def test_a_task_without_data_fails_its_cells_and_no_others(tmp_path: Path, jobs: list[str]) -> None:
    tries = tmp_path / "tries.txt"
    write_spec(tmp_path, tasks=[{"lost": {"tries": str(tries)}}, {"weather_or_food": {"size": 40}}], seeds=[0, 1])
    done = run(tmp_path, *jobs)
    assert done.returncode == 1
    assert "4 cells done, 4 failed" in done.stdout
    assert done.stderr.splitlines()[0].startswith("8 cells, 0 done already")
    assert tries.read_text() == "x", "asked for once, not once a cell"
    shown = status(tmp_path / "out")
    assert shown["counts"] == {"done": 4, "failed": 4, "begun": 0, "missing": 0}
    assert {cell["error"] for cell in shown["cells"]} == {None, "rows.csv: no such file"}

    tries.with_suffix(".found").touch()
    assert run(tmp_path, *jobs).returncode == 0
    assert status(tmp_path / "out")["counts"] == {"done": 8, "failed": 0, "begun": 0, "missing": 0}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    lost = {"text_classification": {"path": "no.csv", "text_column": "t", "label_column": "l", "labels": ["a", "b"]}}
    write_spec(tmp_path, tasks=[lost, {"weather_or_food": {"size": 40}}])
    done = run(tmp_path, "--json")
    assert done.returncode == 1
    outcome = json.loads(done.stdout)
    assert outcome["done"] == 2
    assert all("no.csv: no such file" in failed["error"] for failed in outcome["failed"])


def test_data_that_has_changed_does_not_mix_with_the_old(tmp_path: Path) -> None:
    rows = [f"{'rain snow' if i % 2 else 'bread soup'} {i},{i % 2}" for i in range(60)]
    task = {"path": "rows.csv", "text_column": "t", "label_column": "l", "labels": [0, 1], "label_texts": ["A", "B"]}
    write_spec(tmp_path, tasks=[{"text_classification": task}])
    (tmp_path / "rows.csv").write_text("\n".join(["t,l", *rows]))
    first = run(tmp_path)
    assert first.returncode == 0, first.stderr
    (tmp_path / "rows.csv").write_text("\n".join(["t,l", *rows, "fresh rain,1"]))
    again = run(tmp_path)
    assert again.returncode == 2
    assert "holds 2 finished cells of other data" in again.stderr


def test_an_example_too_long_for_the_context_is_excluded(tmp_path: Path) -> None:
    write_spec(tmp_path, tasks=["long_one"], attacks=[{"random_token": {"steps": 2, "draws": 2}}])
    assert run(tmp_path, "--quiet").returncode == 0
    (cell,) = read_run(tmp_path / "out")
    rows = {row["example"]: row for row in cell.examples().to_pylist()}
    long = rows["validation-00002"]
    assert long["attacked"] is False
    assert long["predicted"] is None
    assert long["excluded"].startswith("too long: ")
    assert long["excluded"].endswith("tokens with the attack string, context 512")
    attacked = {name for name, row in rows.items() if row["attacked"]}
    assert attacked == set(cell.steps().column("example").to_pylist())
    assert cell.record.n_attacked == len(attacked) > 0
    assert cell.record.n_clean == 20, "and it counts as wrong in the clean accuracy"
    assert cell.record.n_clean_correct < 20


def test_where_all_are_too_long_nothing_is_measured_and_the_reason_told(tmp_path: Path) -> None:
    write_spec(tmp_path, tasks=["all_long"], attacks=[{"random_token": {"steps": 2, "draws": 2}}])
    done = run(tmp_path)
    assert done.returncode == 0
    label = r"all_long × counts × none × random_token × .*, seed 0"
    assert re.search(
        rf"note    {label}: 20 of 20 clean prompts are longer than the 512 tokens .*too_long: truncate", done.stderr
    )
    assert re.search(rf"note    {label}: none of 6 examples can be attacked \(6 too long\)", done.stderr)
    assert re.search(rf"done    {label}: no example attacked\n", done.stderr)  # and no accuracy of 0%
    (cell,) = read_run(tmp_path / "out")
    assert (cell.record.n_clean, cell.record.n_too_long, cell.record.n_attacked) == (20, 20, 0)
    shown = harness_here("leaderboard", "show", "out", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert not re.search(r"(?<!\d)0\.0%", shown.stdout)  # 90.0% is the floor
    assert "–" in shown.stdout


def test_strings_that_do_not_survive_tokenisation_are_failed_steps(tmp_path: Path) -> None:
    write_spec(tmp_path, attacks=[{"merging": {"steps": 2}}])
    assert run(tmp_path, "--quiet").returncode == 0
    (cell,) = read_run(tmp_path / "out")
    rows = cell.steps().to_pylist()
    assert len(rows) == 12
    for row in rows:
        assert (row["failure"], row["success"], row["loss"], row["attack_text"]) == (
            "retokenisation",
            False,
            None,
            None,
        )
        assert row["attack_nominal"] > 0
        assert row["judge_nominal"] == 0


@contextlib.contextmanager
def small_disk(folder: Path, size: str):
    """A file system of that size at ``folder``; skips where none may be mounted."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("may not mount a file system here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(path: Path, leave: int) -> None:
    """Take all the space of a file system but ``leave`` bytes."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    held = path.stat().st_size
    os.truncate(path, max(0, held - leave))


@pytest.mark.parametrize("leave", [0, 12 << 10, 32 << 10, 48 << 10, 64 << 10])
def test_a_full_disk_ends_in_words_and_the_next_start_goes_on(tmp_path: Path, leave: int) -> None:
    attacks = [{"random_token": {"steps": 40, "draws": 4}}, {"hill_climb": {"steps": 40}}]
    write_spec(tmp_path, attacks=attacks, seeds=[0, 1])
    with small_disk(tmp_path / "disk", "2m"):
        out = tmp_path / "disk" / "out"
        fill(tmp_path / "disk" / "ballast", leave)
        full = harness_here("run", "spec.yaml", "--out", out, *ODD, cwd=tmp_path)
        assert "Traceback" not in full.stderr
        assert re.search(r"No space left on device(; make room, or write elsewhere|\); fix that)", full.stderr)
        assert full.returncode == (2 if not (out / "run.json").exists() else 1)
        if (out / "cells").exists():
            assert nothing_half_written(out)
            for cell in read_run(out):
                assert cell.steps().num_rows == 240
        (tmp_path / "disk" / "ballast").unlink()
        again = harness_here("run", "spec.yaml", "--out", out, *ODD, "--json", cwd=tmp_path)
        assert again.returncode == 0, again.stderr
        reference = harness_here("run", "spec.yaml", "--out", "whole", *ODD, "--quiet", cwd=tmp_path)
        assert reference.returncode == 0
        assert records(out) == records(tmp_path / "whole")


def limit_files() -> None:
    """No file may grow beyond 24 KiB: writes end in an error, as on a full disk."""
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (24 << 10, 24 << 10))


def test_files_that_cannot_grow_end_in_words_too(tmp_path: Path) -> None:
    attacks = [{"random_token": {"steps": 200, "draws": 2}}, {"random_token": {"steps": 2, "draws": 2}}]
    write_spec(tmp_path, attacks=attacks)
    limited = run(tmp_path, preexec_fn=limit_files)
    assert limited.returncode == 1
    assert "1 cell done, 1 failed" in limited.stdout
    assert "File too large" in limited.stderr
    assert nothing_half_written(tmp_path / "out")
    assert run(tmp_path).returncode == 0
    assert all(len(steps) in (12, 1200) for _, steps, _ in records(tmp_path / "out").values())


def test_a_second_run_in_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(TINY)
    first = Started("run", "spec.yaml", "--out", "out", cwd=tmp_path)
    try:
        assert first.wait_for("done already")
        second = harness_here("run", "spec.yaml", "--out", "out", cwd=tmp_path)
    finally:
        first.kill()
        first.end()
    assert second.returncode == 2
    assert second.stderr == "error: out: another process is running here; wait for it, or give another --out\n"


def test_a_folder_of_another_spec_is_refused_with_the_mend(tmp_path: Path) -> None:
    write_spec(tmp_path)
    assert run(tmp_path, "--quiet").returncode == 0
    write_spec(tmp_path, seeds=[5])
    other = run(tmp_path)
    assert other.returncode == 2
    assert "out: holds a run of spec fast 1 (hash" in other.stderr
    assert "give another --out, with --store out/artifacts to reuse its trained models" in other.stderr
    write_spec(tmp_path, summary="only this line is new")
    assert run(tmp_path).returncode == 0


def test_models_in_a_store_are_used_again(tmp_path: Path) -> None:
    write_spec(tmp_path)
    assert run(tmp_path, "--quiet").returncode == 0
    write_spec(tmp_path, name="other", attacks=[{"random_token": {"steps": 1}}])
    done = harness_here("run", "spec.yaml", "--out", "new", "--store", "out/artifacts", *ODD, cwd=tmp_path)
    assert done.returncode == 0
    assert "prepare" not in done.stderr
    assert not (tmp_path / "new" / "artifacts").exists()


@pytest.mark.parametrize("where", ["file/out", "file", "/proc/nowhere/out"])
def test_a_folder_that_cannot_be_made_is_one_message(tmp_path: Path, where: str) -> None:
    write_spec(tmp_path)
    (tmp_path / "file").touch()
    done = harness_here("run", "spec.yaml", "--out", where, *ODD, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {where}: cannot be written (")
    assert done.stderr.count("\n") == 1


def test_a_read_only_folder_is_one_message(tmp_path: Path) -> None:
    write_spec(tmp_path)
    with small_disk(tmp_path / "disk", "1m"):
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path / "disk")], check=True)
        done = harness_here("run", "spec.yaml", "--out", "disk/out", *ODD, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: disk/out: cannot be written (Read-only file system)")


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A folder with a finished run of the fast spec in ``out``."""
    write_spec(tmp_path)
    assert run(tmp_path, "--quiet").returncode == 0
    return tmp_path


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', "\x00\xff"])
def test_a_damaged_manifest_of_a_cell_is_made_again(finished: Path, content: str) -> None:
    before = records(finished / "out")
    path = next((finished / "out/cells").glob("*/cell.json"))
    path.write_text(content, encoding="latin-1")
    shown = harness_here("status", "out", cwd=finished)
    assert "1 done, 0 failed, 0 begun, 0 missing, 1 damaged" in shown.stdout
    planned = harness_here("plan", "spec.yaml", "--out", "out", *ODD, "--json", cwd=finished)
    assert planned.returncode == 0, planned.stderr
    assert run(finished).returncode == 0
    assert records(finished / "out") == before


def test_a_journal_left_beside_a_finished_cell_goes(finished: Path) -> None:
    before = records(finished / "out")
    cell = next((finished / "out/cells").iterdir())
    (cell / "journal.jsonl").write_text('{"rows": []}\n')
    assert run(finished).returncode == 0
    assert not list((finished / "out").glob("cells/*/journal.jsonl"))
    assert records(finished / "out") == before


@pytest.mark.parametrize("content", [b"\x00\xff\n", b"3\n", b"[]\n", b'{"rows": []', b'"rows"\n{"rows"', b"\n\n"])
def test_garbage_in_a_journal_is_dropped(finished: Path, content: bytes) -> None:
    before = records(finished / "out")
    folder = next((finished / "out/cells").iterdir())
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "journal.jsonl").write_bytes(content)
    assert status(finished / "out")["counts"]["begun"] == 1
    assert run(finished).returncode == 0
    assert records(finished / "out") == before


def test_a_journal_that_does_not_fit_is_named(finished: Path) -> None:
    folder = next((finished / "out/cells").iterdir())
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "journal.jsonl").write_bytes(b'{"rows": [{"step": 1}], "states": {"77": {}}}\n')
    done = run(finished)
    assert done.returncode == 1
    assert "journal.jsonl: damaged" in done.stderr
    assert "delete it" in done.stderr


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("manifest.json", b"{", "damaged manifest"),
        ("manifest.json", b"[]", "damaged manifest"),
        ("weights.npy", b"nonsense", "cannot be loaded"),
        ("weights.npy", None, "cannot be loaded"),
    ],
)
def test_a_damaged_artifact_is_named_with_its_mend(
    finished: Path, file: str, content: bytes | None, words: str
) -> None:
    before = records(finished / "out")
    (folder,) = (path for path in (finished / "out/artifacts").iterdir() if not path.name.startswith("."))
    shutil.rmtree(finished / "out/cells")
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)
    done = run(finished, "--json")
    assert done.returncode == 1
    errors = {failed["error"] for failed in json.loads(done.stdout)["failed"]}
    assert len(errors) == 1
    assert words in next(iter(errors))
    assert f"delete the folder out/artifacts/{folder.name}" in next(iter(errors)) or "delete the folder" in next(
        iter(errors)
    )
    shutil.rmtree(folder)
    assert run(finished).returncode == 0
    assert records(finished / "out") == before


def test_an_artifact_that_lost_its_manifest_is_made_again(finished: Path) -> None:
    before = records(finished / "out")
    next((finished / "out/artifacts").glob("*/manifest.json")).unlink()
    shutil.rmtree(finished / "out/cells")
    assert run(finished).returncode == 0
    assert records(finished / "out") == before


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_damaged_run_manifest_is_named(finished: Path, content: str) -> None:
    (finished / "out/run.json").write_text(content)
    for done in (run(finished), harness_here("status", "out", cwd=finished)):
        assert done.returncode == 2
        assert "out/run.json: damaged" in done.stderr
        assert "--out" in done.stderr


def test_a_finished_cell_that_lost_its_table_is_named_by_the_reader(finished: Path) -> None:
    for path in finished.glob("out/cells/*/steps.parquet"):
        path.write_bytes(b"PAR1")
    done = harness_here("leaderboard", "build", "out", "--out", "site", cwd=finished)
    assert done.returncode == 2
    assert "steps.parquet: cannot be read as Parquet" in done.stderr
