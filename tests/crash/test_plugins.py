"""A plugin that goes wrong takes its cell with it at most: the others have the records of an undisturbed run."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.run.runs import FROM_FILES, harness, harness_here, records

pytestmark = pytest.mark.slow
PLUGINS = [*FROM_FILES, f"--plugin={Path(__file__).parent / 'plugins.py'}"]

# What ends a cell: where, what is said of it, and what its traceback holds.
FAIL = {
    "raises": ("step", "attack bad, example validation-00000, step 2: raised ValueError: no luck", "no luck"),
    "exits": ("step", "SystemExit: bye", "sys.exit"),
    "exits_hard": ("step", "its process died 2 times (exit status 9", "died"),
    "crashes": ("step", "its process died 2 times (signal SIGSEGV", "died"),
    "eats": ("step", "MemoryError: not enough", "eats"),
    "sleeps": (
        "step",
        "a step of attack bad (round 2, 6 side by side) took longer than step_seconds (4)",
        "in sleeps",
    ),
    "loops": ("start", "the start of attack bad took longer than step_seconds (4)", "in loops"),
    "holds_the_lock": ("step", "took longer than step_seconds (4)", "in holds_the_lock"),
}
DISTURB = ("loud", "meddles", "turns_the_clock", "leaks")
# A parameter that is part of a cell's key: what is done is not, and a repaired cell is the same cell.
DRAWS = {what: 4 + i for i, what in enumerate([*FAIL, *DISTURB, "devours", "reserves"])}
NAMES = {draws: what for what, draws in DRAWS.items()}


def spec(bad: Iterable[str], mended: Path | str = "/nowhere", seconds: int = 60) -> str:
    """Cells that go wrong, each between two that do not."""
    attacks: list[Any] = [{"random_token": {"steps": 3, "draws": 4}}]
    for what in bad:
        where = FAIL[what][0] if what in FAIL else "step"
        attacks += [
            {"bad": {"steps": 3, "draws": DRAWS[what], "what": what, "where": where, "mended": str(mended)}},
            {"hill_climb": {"steps": 3, "tries": DRAWS[what]}},
        ]
    return f"""
name: bad
version: "1"
tasks: [{{weather_or_food: {{size: 40}}}}]
victims: [counts]
attacks: {json.dumps(attacks)}
threats: [{{tokens: 4}}]
examples: 6
clean_examples: 20
step_seconds: {seconds}
"""


@dataclass(frozen=True)
class Run:
    """A run that has ended.

    Attributes:
        bad: its bad cells, by what goes wrong in them: what ``cell.json`` holds, and what ``error.txt`` does.
        done: the records of the cells that are done, by key.
    """

    folder: Path
    process: subprocess.CompletedProcess[str]
    bad: dict[str, tuple[dict[str, Any], str]]
    done: dict[str, Any]


Good = Callable[..., dict[str, Any]]


def run(folder: Path, text: str, *more: object, **kwargs: Any) -> Run:
    (folder / "spec.yaml").write_text(text)
    process = harness("run", "spec.yaml", "--out", "out", *PLUGINS, *more, cwd=folder, **kwargs)
    bad, done = {}, folder / "done" / "cells"
    done.mkdir(parents=True)
    for path in (folder / "out" / "cells").iterdir():
        cell, trace = json.loads((path / "cell.json").read_text()), path / "error.txt"
        if cell["attack"]["name"] == "bad":
            bad[NAMES[cell["attack"]["params"]["draws"]]] = cell, trace.read_text() if trace.exists() else ""
        if cell["status"] == "done":
            (done / path.name).symlink_to(path)
    return Run(folder, process, bad, records(done.parent))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Good:
    """The records of a run of the same cells in which nothing goes wrong."""

    @cache
    def made(*bad: str) -> dict[str, Any]:
        folder = tmp_path_factory.mktemp("good")
        (folder / "mended").touch()
        (folder / "spec.yaml").write_text(spec(bad, folder / "mended"))
        done = harness_here("run", "spec.yaml", "--out", "out", *PLUGINS, cwd=folder)
        assert done.returncode == 0, done.stderr
        return records(folder / "out")

    return made


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Every cell that fails, in one run."""
    folder = tmp_path_factory.mktemp("failing")
    return run(folder, spec(FAIL, folder / "mended", 4), "--json")


@pytest.mark.parametrize("what", FAIL)
def test_a_cell_that_fails_says_why(failing: Run, what: str) -> None:
    _, words, trace = FAIL[what]
    cell, where_it_was = failing.bad[what]
    assert cell["status"] == "failed"
    assert words in cell["error"]
    assert trace in where_it_was
    assert cell["error"] in [failed["error"] for failed in json.loads(failing.process.stdout)["failed"]]


def test_the_rest_of_the_run_is_as_it_would_have_been(failing: Run, good: Good) -> None:
    assert failing.process.returncode == 1
    outcome = json.loads(failing.process.stdout)
    assert (outcome["done"], len(outcome["failed"])) == (1 + len(FAIL), len(FAIL))
    assert "Traceback" not in failing.process.stderr
    assert len(failing.done) == 1 + len(FAIL)
    assert failing.done == {key: good(*FAIL)[key] for key in failing.done}


def test_failed_cells_are_done_once_their_plugin_is_mended(failing: Run, good: Good) -> None:
    (failing.folder / "mended").touch()
    again = harness_here("run", "spec.yaml", "--out", "out", *PLUGINS, "--quiet", cwd=failing.folder)
    assert again.returncode == 0, again.stderr
    assert records(failing.folder / "out") == good(*FAIL)


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Everything that is done to the process, in one run."""
    return run(tmp_path_factory.mktemp("disturbed"), spec(DISTURB))


@pytest.mark.parametrize("what", DISTURB)
def test_what_is_done_to_the_process_changes_no_record(disturbed: Run, good: Good, what: str) -> None:
    assert disturbed.process.returncode == 0, disturbed.process.stderr
    cell, _ = disturbed.bad[what]
    assert cell["status"] == "done"
    assert disturbed.done[cell["key"]] == good(*DISTURB)[cell["key"]]


def test_the_cells_after_a_disturbance_are_as_they_would_have_been(disturbed: Run, good: Good) -> None:
    assert disturbed.done == good(*DISTURB)


def test_what_is_printed_goes_to_a_file_of_bounded_size(disturbed: Run) -> None:
    assert len(disturbed.process.stdout + disturbed.process.stderr) < 5000
    (log,) = (disturbed.folder / "out" / "logs").iterdir()
    assert 0 < log.stat().st_size <= 4 << 20
    assert log.read_bytes().endswith(b"\n")


def test_what_was_changed_is_told(disturbed: Run) -> None:
    told = [line for line in disturbed.process.stderr.splitlines() if "  note    " in line]
    for setting in ("default dtype", "gradient mode", "number of threads", "precision", "deterministic mode"):
        assert any(f"changed torch's {setting}" in line for line in told), told
    assert any(
        "attack bad, or a model or judge that it asked, changed the working directory; put back" in line
        for line in told
    )


def test_handles_that_leak_bring_a_fresh_worker(disturbed: Run) -> None:
    assert "1800 files were left open by" in disturbed.process.stderr


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


def test_memory_that_runs_out_in_a_step_ends_its_cell_alone(tmp_path: Path, good: Good) -> None:
    """The worker is killed from outside, as by a kernel that has no memory left."""
    group = limited_group(f"harness-{os.getpid()}", 1200 << 20)
    try:
        found = run(
            tmp_path,
            spec(["devours"]),
            "--json",
            preexec_fn=lambda: (group / "cgroup.procs").write_text("0"),
        )
    finally:
        remove_group(group)
    assert found.process.returncode == 1
    (failed,) = json.loads(found.process.stdout)["failed"]
    assert "its process died 2 times (signal SIGKILL" in failed["error"]
    assert "if memory ran out" in failed["error"]
    assert len(found.done) == 2
    assert found.done == {key: good("devours")[key] for key in found.done}


def little_memory() -> None:
    """So much address space, and no more."""
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))


def test_an_allocation_that_fails_ends_its_cell_alone(tmp_path: Path, good: Good) -> None:
    """What the plugin has taken it keeps: the cells after it need a fresh process."""
    found = run(tmp_path, spec(["reserves"]), preexec_fn=little_memory)
    assert found.process.returncode == 1
    assert "2 cells done, 1 failed" in found.process.stdout
    assert "MemoryError: Unable to allocate" in found.process.stderr
    assert "all memory was used up by" in found.process.stderr
    assert len(found.done) == 2
    assert found.done == {key: good("reserves")[key] for key in found.done}
    assert "Traceback" not in found.process.stderr
