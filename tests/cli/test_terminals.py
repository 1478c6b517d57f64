"""Every command on terminals of any encoding, and on devices that are full: words and a status, never a traceback."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from harness.cli import main
from harness.cli.app import build_app
from harness.cli.console.terminal import any_terminal
from leaderboard.submission.leaderboard_entry import write_entry
from leaderboard.submission.submission import open_submission
from tests.benchmarks.intervals.corrected import calibration_of
from tests.leaderboard.fake_run import FakeCell, write_run
from tests.leaderboard.submission.forge import pack_fast
from tests.leaderboard.submission.given import BREAKING, write_strings
from tests.leaderboard.versions.test_class_separation import placed
from tests.run.runs import ENVIRONMENT, FAST, FROM_FILES, command

# What each command is called with, in a folder that has what it needs.
BENCH = "--size 60k --prefix 8 --suffix 4 --candidates 8 --rounds 1 --device cpu --path full"
COMMANDS = {
    "run": "run spec.yaml --out ran --jobs 0",
    "specs": "specs",
    "spec show": "spec show quickstart",
    "plan": "plan spec.yaml",
    "validate": "validate spec.yaml",
    "status": "status fake",
    "merge": "merge fast --out merged",
    "tune": "tune hill_climb spec.yaml --flops 1GFLOP --dry-run",
    "plugins": "plugins gcg",
    "new-plugin": "new-plugin mine --kind attack",
    "judge calibrate": "judge calibrate refusal_match labelled.csv",
    "check": "check counts --examples 2",
    "plot": "plot fake --out figure.pdf",
    "bench scoring": f"bench scoring {BENCH}",
    "bench gcg": f"bench gcg {BENCH}",
    "fit attack-scaling": "fit attack-scaling fake",
    "fit offense-defense": "fit offense-defense fake --target-asr 0.5",
    "fit efficiency": "fit efficiency fake",
    "fit size-scaling": "fit size-scaling fake",
    "fit repeated-sampling": "fit repeated-sampling drawn --asks 16",
    "fit corrected-asr": "fit corrected-asr drawn --calibration kept.json",
    "fit class-separation": "fit class-separation placed",
    "compare": "compare fake fake",
    "leaderboard build": "leaderboard build fake --out page",
    "leaderboard show": "leaderboard show fake",
    "leaderboard study": "leaderboard study table.csv --out studied",
    "leaderboard findings": "leaderboard findings fake",
    "leaderboard transfer": "leaderboard transfer fake",
    "leaderboard attacks": "leaderboard attacks fake",
    "leaderboard tuned": "leaderboard tuned tuned",
    "leaderboard stacks": "leaderboard stacks fake",
    "leaderboard judges": "leaderboard judges fake rejudged",
    "leaderboard pack": "leaderboard pack fast --out packed.zip",
    "leaderboard verify": "leaderboard verify fast.submission",
    "leaderboard add": "leaderboard add fast.submission --entries entries",
    "leaderboard export": "leaderboard export fake --csv rows.csv",
    "leaderboard claim": "leaderboard claim entries/fast.json strings.csv --by Doe --spec spec.yaml",
}
SLOW = {"bench scoring", "bench gcg", "check", "plot", "run"}
SLOW |= {f"leaderboard {name}" for name in ("build", "study", "pack", "verify", "add", "claim")}
CALLS = [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in COMMANDS]
ENCODINGS = ["latin-1", "cp1252", "ascii"]
NAME = "größe…中🙂"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    (folder / "packing").mkdir()
    (folder / "spec.yaml").write_text(FAST.replace("name: fast", f"name: fast\nsummary: {NAME}"), "utf-8")
    cells = [
        FakeCell(
            task=NAME, seed=seed, attack=attack, defense=defense, round=number, against=against, defense_flops=flops
        )
        for seed in (0, 1)
        for attack in ("gcg", "random_token")
        for defense, number, against, flops in (
            ("none", None, None, 0.0),
            ("adversarial_training", 1, {"attack": "gcg"}, 1e12),
            ("adversarial_training", 2, {"attack": "gcg"}, 3e12),
        )
    ]
    write_run(folder / "fake", cells)
    rejudged = [replace(cell, judge=f"another {NAME}", spec_hash="6" * 64) for cell in cells]
    write_run(folder / "rejudged", rejudged, spec_hash="6" * 64)
    tuning = {"tuning": {"flops": 1e11, "per_example": 2e10, "examples": 16, "trials": 9, "key": "f" * 20}}
    untuned = FakeCell(task=NAME, attack="gcg")
    label = {"name": "gcg", "label": "gcg, tuned", "params": {}, "distribution": "", "version": ""}
    write_run(folder / "tuned", [untuned, replace(untuned, attack="gcg, tuned", more=tuning | {"attack": label})])
    answers = [("Yes", "answered", True), ("No", "answered", False)] * 4
    sampling = {"answers": {"samples": 8, "temperature": 1.0, "top_p": 1.0, "max_tokens": None}}
    write_run(folder / "drawn", [FakeCell(task=NAME, task_kind="text", drawn=answers, examples=60, more=sampling)])
    (folder / "labelled.csv").write_text(f"prompt,answer,label\n{NAME},Sure,1\n{NAME},I cannot,0\n", "utf-8")
    judge = {"name": "proxy_label", "label": NAME, "params": {}, "distribution": "", "version": ""}
    kept = calibration_of(8, 9, 7, 9).model_dump(mode="json") | {"judge": judge}
    (folder / "kept.json").write_text(json.dumps(kept), "utf-8")
    write_run(folder / "placed", [replace(placed(0, 9.0), task=NAME)])
    header = "task,family,attack,n_params,seed,iteration,trials,successes,attack_compute\n"
    rows = [f"{NAME},f,a,{n},{s},{i},50,{4 * i + s},{i / 100}\n" for n in (10, 99) for s in (0, 1) for i in range(1, 9)]
    (folder / "table.csv").write_text(header + "".join(rows), "utf-8")
    packed = pack_fast(folder / "packing")
    shutil.copy(packed, folder / "fast.submission")
    shutil.copytree(packed.parent / "run", folder / "fast")
    entry = write_entry(open_submission(packed), folder / "entries")
    for file in (entry, entry.with_suffix(".parquet")):
        file.rename(file.with_stem("fast"))
    write_strings(folder / "strings.csv", BREAKING)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy to work in."""
    shutil.copytree(made, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path / "work"


def stream(path: Path, encoding: str) -> io.TextIOWrapper:
    """Standard output or error as Python makes it."""
    return io.TextIOWrapper(io.BufferedWriter(io.FileIO(path, "w")), encoding, "strict")


def call(name: str, out: Path, err: Path, encoding: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a command in this process with these files as its standard output and error."""
    with monkeypatch.context() as changed, stream(err, encoding) as error:
        output = stream(out, encoding)
        changed.setattr(sys, "stdout", output)
        changed.setattr(sys, "stderr", error)
        status = main([*FROM_FILES, *COMMANDS[name].split()])
        output.detach().detach()  # whatever it still holds is lost
    return status


@cache
def commands() -> dict[str, Any]:
    """Every command that does something, by its name."""
    found = {}
    for name, one in get_command(build_app()).commands.items():  # type: ignore[attr-defined]
        found |= {f"{name} {sub}": command for sub, command in getattr(one, "commands", {}).items()} or {name: one}
    return found


def test_every_command_is_tried() -> None:
    assert set(commands()) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_that_parses(name: str) -> None:
    command = commands()[name]
    (example,) = re.findall(r"Example: (harness .*)", command.epilog)
    arguments = re.sub(r" > \S+$", "", example).split()[1:]
    words = name.split()
    assert arguments[: len(words)] == words
    command.make_context(name, arguments[len(words) :])  # refuses what the command does not take


@pytest.mark.parametrize("name", CALLS)
def test_any_encoding(name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoding = ENCODINGS[list(COMMANDS).index(name) % 3]
    out, err = tmp_path / "out", tmp_path / "err"
    status = call(name, out, err, encoding, monkeypatch)
    said = err.read_text(encoding)
    assert "Traceback" not in said
    assert "bug" not in said
    assert status == 0, said
    assert (out.read_text(encoding) + said).strip()


@pytest.mark.parametrize("name", CALLS)
def test_full_devices(name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    err = tmp_path / "err"
    status = call(name, Path("/dev/full"), err, "utf-8", monkeypatch)
    said = err.read_text("utf-8")
    assert status == 2, said
    assert "error: standard output cannot be written (No space left on device); send it elsewhere" in said
    assert said.count("error:") == 1
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in SLOW] + ["run"])
def test_full_log(name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be said on standard error is lost; what was asked for is done."""
    out = tmp_path / "out"
    assert call(name, out, Path("/dev/full"), "utf-8", monkeypatch) == 0
    assert out.read_text("utf-8").strip()


@pytest.mark.parametrize("buffered", ["", "1"])
@pytest.mark.parametrize(
    ("where", "status", "said"),
    [
        (">/dev/full", 2, "error: standard output cannot be written (No space left on device); send it elsewhere"),
        ("2>/dev/full", 0, "OK fast"),
        (">/dev/full 2>/dev/full", 2, ""),
        (">&-", 0, ""),
        (">&- 2>&-", 0, ""),
    ],
)
def test_whole_processes(made: Path, buffered: str, where: str, status: int, said: str) -> None:
    words = " ".join(command(*FROM_FILES, "validate", "spec.yaml"))
    environment = os.environ | ENVIRONMENT | {"PYTHONUNBUFFERED": buffered, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(["bash", "-c", f"{words} {where}"], cwd=made, env=environment, capture_output=True, text=True)
    assert done.returncode == status
    assert (done.stdout + done.stderr).startswith(said)
    assert len((done.stdout + done.stderr).splitlines()) == bool(said)


def test_our_signs_have_plain_ones_and_tables_stay_straight(tmp_path: Path, made: Path, monkeypatch) -> None:
    monkeypatch.chdir(made)
    monkeypatch.setenv("COLUMNS", "200")
    call("leaderboard show", tmp_path / "plain", tmp_path / "err", "ascii", monkeypatch)
    call("leaderboard show", tmp_path / "fancy", tmp_path / "err", "utf-8", monkeypatch)
    plain, fancy = ((tmp_path / name).read_text("utf-8").splitlines() for name in ("plain", "fancy"))
    assert len(plain) == len(fancy)
    assert "\\u4e2d" in "".join(plain)
    assert "x 10^" in "".join(plain)
    for ours, theirs in zip(plain, fancy, strict=True):
        if NAME not in theirs and not set(theirs) & set("⁰¹²³⁴⁵⁶⁷⁸⁹⁻"):
            assert len(ours) == len(theirs)


@pytest.mark.parametrize(
    ("encoding", "text", "shown"),
    [
        ("ascii", "4.3 × 10⁻¹² – 2 × 10⁹ χ²", "4.3 x 10^-12 - 2 x 10^9 \\u03c7^2"),
        ("latin-1", "10¹⁰ ² é … 中", "10\xb90 \xb2 \xe9 ~ \\u4e2d"),
        ("cp1252", "– “a” ⁵ 🙂", "\x96 \x93a\x94 ^5 \\U0001f642"),
        ("utf-8", "é \udcff", "é \\udcff"),
    ],
)
def test_no_number_becomes_another(encoding: str, text: str, shown: str, tmp_path: Path, monkeypatch) -> None:
    with monkeypatch.context() as changed, stream(tmp_path / "out", encoding) as output:
        changed.setattr(sys, "stdout", output)
        with any_terminal():
            print(text, end="")
    assert (tmp_path / "out").read_bytes() == shown.encode("utf-8" if encoding == "utf-8" else "latin-1")


def test_json_is_json_in_every_encoding(tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)
    for name in ("status", "fit attack-scaling", "leaderboard attacks", "leaderboard transfer"):
        with monkeypatch.context() as changed:
            changed.setitem(COMMANDS, name, COMMANDS[name] + " --json")
            assert call(name, tmp_path / "out", tmp_path / "err", "latin-1", monkeypatch) == 0
        assert NAME in json.dumps(json.loads((tmp_path / "out").read_text("latin-1")), ensure_ascii=False)
