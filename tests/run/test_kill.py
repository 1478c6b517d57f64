"""A run that is killed, at whatever moment and however often, ends with the records of an undisturbed one."""

from __future__ import annotations

import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.processes import LONGEST
from tests.run.runs import FROM_FILES, TINY, WORKER, Started, harness_here, one_seed, records, status, weights

pytestmark = pytest.mark.slow
TRAINING = one_seed(TINY)
CELLS = 6
PLUGINS = [*FROM_FILES, f"--plugin={Path(__file__).parent / 'executors' / 'ray' / 'plugins.py'}"]
SLOW = """
name: slow
version: "1"
tasks: [{weather_or_food: {size: 40}}]
victims: [counts]
attacks: [{slow: {steps: 6, pause: PAUSE}}]
threats: [{tokens: 4}]
seeds: [0, 1, 2, 3, 4, 5]
examples: 3
clean_examples: 20
"""  # no torch, which each process would import: what goes on is the same, and takes some seconds


@dataclass
class Undisturbed:
    """A run that nobody disturbed, and the seconds from its first attack to its end."""

    out: Path
    seconds: float


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "spec.yaml").write_text(TRAINING)
    run = Started("run", "spec.yaml", "--out", "out", cwd=folder)
    assert run.wait_for("attack ")
    began = time.monotonic()
    assert run.end() == 0, run.stderr
    assert len(records(folder / "out")) == CELLS
    return Undisturbed(folder / "out", time.monotonic() - began)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of slow cells, without their pauses."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "spec.yaml").write_text(SLOW.replace("PAUSE", "0"))
    done = harness_here("run", "spec.yaml", "--out", "out", "--quiet", *PLUGINS, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert len(records(folder / "out")) == CELLS
    return folder / "out"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "spec.yaml").write_text(SLOW.replace("PAUSE", "0.1"))
    return tmp_path


def begin(folder: Path, jobs: int = 2) -> Started:
    """A run of slow cells that has begun its first."""
    run = Started("run", "spec.yaml", "--out", "out", "-j", jobs, *PLUGINS, cwd=folder)
    assert run.wait_for("attack "), run.stderr
    return run


def assert_same(out: Path, whole: Path) -> None:
    assert records(out) == records(whole)
    assert weights(out) == weights(whole)
    left = {path.name for path in out.glob("cells/*/*")}
    assert left == {"cell.json", "steps.parquet", "examples.parquet"}
    assert not list((out / "artifacts" / ".partial").glob("*"))


def kill_often(folder: Path, early: int, late: int, mean: float) -> list[int]:
    """Start and kill, then let it end; the cells done at each kill.

    Args:
        early: kills in the first seconds: while plugins load, models load, a model is trained.
        late: kills after a start's first attack has begun, at random moments from then on.
        mean: of the time from there to the kill, seconds.
    """
    rng = random.Random("kill")
    arguments = ("run", "spec.yaml", "--out", "out")
    done = []
    for kill in range(early + late):
        run = Started(*arguments, cwd=folder)
        if kill >= early:
            assert run.wait_for("attack "), run.stderr
        time.sleep(rng.uniform(0, 2 * mean if kill >= early else 4))
        run.kill()
        assert run.end() == -signal.SIGKILL, f"it ended before kill {kill + 1}: {run.stderr}"
        assert "Traceback" not in run.stderr
        done.append(len(list(folder.glob("out/cells/*/cell.json"))))
    last = harness_here(*arguments, "--json", cwd=folder)
    assert last.returncode == 0, last.stderr
    return done


def test_one_kill_after_another_changes_nothing(tmp_path: Path, undisturbed: Undisturbed) -> None:
    """One in each of many runs, and of runs by two workers: tests/crash."""
    (tmp_path / "spec.yaml").write_text(TRAINING)
    done = kill_often(tmp_path, 1, 2, undisturbed.seconds / 6)
    assert done == sorted(done), "what is finished stays finished"
    assert 0 < done[-1] < CELLS, "the kills were spread over the run"
    assert_same(tmp_path / "out", undisturbed.out)


def family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def test_a_killed_driver_leaves_no_process_behind(folder: Path) -> None:
    run = begin(folder)
    processes = family(psutil.Process(run.process.pid))
    assert len(run.running(WORKER)) == 2
    run.process.kill()  # the driver alone
    _, alive = psutil.wait_procs(processes[1:], timeout=LONGEST)
    assert alive == []
    run.end()


@pytest.mark.parametrize("what", ["a worker", "what workers are forks of"])
def test_a_killed_worker_costs_nothing_but_time(folder: Path, whole: Path, what: str) -> None:
    run = begin(folder)
    killed = run.running(WORKER)[0]
    if what != "a worker":
        run.fork_server().kill()
        time.sleep(0.1)
    killed.kill()
    assert run.end() == 0, run.stderr
    assert_same(folder / "out", whole)


@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_is_one_line_and_status_130(folder: Path, whole: Path, jobs: int) -> None:
    run = begin(folder, jobs)
    processes = family(psutil.Process(run.process.pid))
    run.kill(signal.SIGINT)
    assert run.end() == 130
    assert "Traceback" not in run.stderr
    assert "KeyboardInterrupt" not in run.stderr
    assert run.lines[-1] == "Stopped. Run the same command again to continue from here: out\n"
    assert psutil.wait_procs(processes, timeout=LONGEST)[1] == []
    counts = status(folder / "out")["counts"]
    assert counts["failed"] == 0
    assert counts["done"] < CELLS
    if jobs == 1:
        assert harness_here("run", "spec.yaml", "--out", "out", "--quiet", *PLUGINS, cwd=folder).returncode == 0
        assert_same(folder / "out", whole)


def test_ctrl_c_while_workers_start_is_quiet_too(folder: Path) -> None:
    run = Started("run", "spec.yaml", "--out", "out", "-j", "2", *PLUGINS, cwd=folder)
    assert run.wait_for("done already")
    end = time.monotonic() + LONGEST
    while not run.running(WORKER) and time.monotonic() < end:
        time.sleep(0.005)
    run.kill(signal.SIGINT)
    assert run.end() == 130
    assert "Traceback" not in run.stderr
