"""A plugin that goes wrong takes its cell with it at most: the others have the records of an undisturbed run."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.run.runs import FROM_FILES, harness, records, status

pytestmark = pytest.mark.slow
PLUGINS = [*FROM_FILES, f"--plugin={Path(__file__).parent / 'plugins.py'}"]
GOOD = {"random_token": {"steps": 3, "draws": 4}}


def spec(**bad: Any) -> str:
    """A cell that goes wrong between two that do not."""
    attacks = [GOOD, {"bad": {"steps": 3, **bad}}, {"hill_climb": {"steps": 3}}]
    return f"""
name: bad
version: "1"
tasks: [{{weather_or_food: {{size: 40}}}}]
victims: [counts]
attacks: {json.dumps(attacks)}
threats: [{{tokens: 4}}]
examples: 6
clean_examples: 20
step_seconds: 4
"""


def run(folder: Path, out: str = "out", *more: object, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    return harness("run", "spec.yaml", "--out", out, *PLUGINS, *more, cwd=folder, **kwargs)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The records of a run in which nothing goes wrong."""
    folder = tmp_path_factory.mktemp("good")
    (folder / "spec.yaml").write_text(spec())
    done = run(folder)
    assert done.returncode == 0, done.stderr
    return records(folder / "out")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def others(out: Path) -> dict[str, Any]:
    """The records of the cells that are done."""
    found = {}
    for path in (out / "cells").iterdir():
        if json.loads((path / "cell.json").read_text())["status"] != "done":
            continue
        alone = out.parent / f"only-{path.name}" / "cells"
        alone.mkdir(parents=True)
        (alone / path.name).symlink_to(path)
        found |= records(alone.parent)
    return found


@pytest.mark.parametrize(
    ("what", "where", "words", "trace"),
    [
        ("raises", "step", "attack bad, example validation-00000, step 2: raised ValueError: no luck", "no luck"),
        ("exits", "step", "SystemExit: bye", "sys.exit"),
        ("exits_hard", "step", "its process died 2 times (exit status 9", "died"),
        ("crashes", "step", "its process died 2 times (signal SIGSEGV", "died"),
        ("eats", "step", "MemoryError: not enough", "eats"),
        (
            "sleeps",
            "step",
            "a step of attack bad (round 2, 6 side by side) took longer than step_seconds (4)",
            "in sleeps",
        ),
        ("loops", "start", "the start of attack bad took longer than step_seconds (4)", "in loops"),
        ("holds_the_lock", "step", "took longer than step_seconds (4)", "in holds_the_lock"),
    ],
)
def test_the_rest_of_the_run_is_as_it_would_have_been(
    folder: Path, good: dict[str, Any], what: str, where: str, words: str, trace: str
) -> None:
    mended = folder / "mended"
    (folder / "spec.yaml").write_text(spec(what=what, where=where, mended=str(mended)))
    done = run(folder, "out", "--json")
    assert done.returncode == 1
    outcome = json.loads(done.stdout)
    assert outcome["done"] == 2
    (failed,) = outcome["failed"]
    assert words in failed["error"]
    assert "Traceback" not in done.stderr
    left = others(folder / "out")
    assert len(left) == 2
    assert all(good[key] == found for key, found in left.items())
    (where_it_was,) = (folder / "out/cells").glob("*/error.txt")
    assert trace in where_it_was.read_text()

    mended.touch()
    again = run(folder, "out", "--quiet")
    assert again.returncode == 0, again.stderr
    assert records(folder / "out") == good


@pytest.mark.parametrize("what", ["loud", "meddles", "leaks", "turns_the_clock"])
def test_what_is_done_to_the_process_changes_no_record(folder: Path, good: dict[str, Any], what: str) -> None:
    (folder / "spec.yaml").write_text(spec(what=what))
    done = run(folder, "out", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["done"] == 3
    assert records(folder / "out") == good


def test_what_is_printed_goes_to_a_file_of_bounded_size(folder: Path) -> None:
    (folder / "spec.yaml").write_text(spec(what="loud"))
    done = run(folder)
    assert done.returncode == 0
    assert len(done.stdout + done.stderr) < 5000
    (log,) = (folder / "out" / "logs").iterdir()
    assert 0 < log.stat().st_size <= 4 << 20
    assert log.read_bytes().endswith(b"\n")


def test_what_was_changed_is_told(folder: Path) -> None:
    (folder / "spec.yaml").write_text(spec(what="meddles"))
    told = [line for line in run(folder).stderr.splitlines() if line.startswith("note ")]
    for setting in ("default dtype", "gradient mode", "number of threads", "precision", "deterministic mode"):
        assert any(f"changed torch's {setting}" in line for line in told), told
    assert any("attack bad, or who is asked with it, changed the working directory; put back" in line for line in told)


def test_handles_that_leak_bring_a_fresh_worker(folder: Path) -> None:
    (folder / "spec.yaml").write_text(spec(what="leaks"))
    done = run(folder)
    assert "1800 files were left open by" in done.stderr
    assert status(folder / "out")["counts"]["done"] == 3


def limited_group(name: str, most: int) -> Path:
    """A control group whose processes have so many bytes together; skips where none can be made."""
    root = Path("/sys/fs/cgroup")
    first, limit = root / "memory", "memory.limit_in_bytes"
    if not (first / limit).exists():
        first, limit = root, "memory.max"
    if not (first / "cgroup.procs").exists():
        pytest.skip("there are no control groups here")
    try:
        (first / name).mkdir()
        (first / name / limit).write_text(str(most))
    except OSError as error:
        with contextlib.suppress(OSError):
            (first / name).rmdir()
        pytest.skip(f"no limit on memory can be set here: {error}")
    return first / name


def remove_group(group: Path) -> None:
    """Processes that have just ended may still be counted in it for a moment."""
    for _ in range(100):
        with contextlib.suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.1)


def test_memory_that_runs_out_in_a_step_ends_its_cell_alone(folder: Path, good: dict[str, Any]) -> None:
    """The worker is killed from outside, as by a kernel that has no memory left."""
    group = limited_group(f"harness-{os.getpid()}", 1500 << 20)
    (folder / "spec.yaml").write_text(spec(what="devours").replace("step_seconds: 4", "step_seconds: 60"))
    try:
        done = run(folder, "out", "--json", preexec_fn=lambda: (group / "cgroup.procs").write_text("0"))
    finally:
        remove_group(group)
    assert done.returncode == 1
    (failed,) = json.loads(done.stdout)["failed"]
    assert "its process died 2 times (signal SIGKILL" in failed["error"]
    assert "if memory ran out" in failed["error"]
    left = others(folder / "out")
    assert len(left) == 2
    assert all(good[key] == found for key, found in left.items())


def little_memory() -> None:
    """So much address space, and no more."""
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))


def test_an_allocation_that_fails_ends_its_cell_alone(folder: Path, good: dict[str, Any]) -> None:
    """What the plugin has taken it keeps: the cells after it need a fresh process."""
    (folder / "spec.yaml").write_text(spec(what="devours").replace("step_seconds: 4", "step_seconds: 60"))
    done = run(folder, preexec_fn=little_memory)
    assert done.returncode == 1
    assert "2 cells done, 1 failed" in done.stdout
    assert "MemoryError: Unable to allocate" in done.stderr
    assert "all memory was taken by" in done.stderr
    assert all(good[key] == found for key, found in others(folder / "out").items())
    assert "Traceback" not in done.stderr
