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
from tests.run.runs import TINY, WORKER, Started, harness_here, one_seed, records, status, weights

pytestmark = pytest.mark.slow
SPEC = one_seed(TINY)
CELLS = 6


@dataclass
class Undisturbed:
    """A run that nobody disturbed, and the seconds from its first attack to its end."""

    out: Path
    seconds: float


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "spec.yaml").write_text(SPEC)
    run = Started("run", "spec.yaml", "--out", "out", cwd=folder)
    assert run.wait_for("attack ")
    began = time.monotonic()
    assert run.end() == 0, run.stderr
    assert len(records(folder / "out")) == CELLS
    return Undisturbed(folder / "out", time.monotonic() - began)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "spec.yaml").write_text(SPEC)
    return tmp_path


def assert_same(out: Path, undisturbed: Undisturbed) -> None:
    assert records(out) == records(undisturbed.out)
    assert weights(out) == weights(undisturbed.out)
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


def test_one_kill_after_another_changes_nothing(folder: Path, undisturbed: Undisturbed) -> None:
    """One in each of many runs, and of runs by two workers: tests/crash."""
    done = kill_often(folder, 1, 2, undisturbed.seconds / 6)
    assert done == sorted(done), "what is finished stays finished"
    assert 0 < done[-1] < CELLS, "the kills were spread over the run"
    assert_same(folder / "out", undisturbed)


def family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def test_a_killed_driver_leaves_no_process_behind(folder: Path) -> None:
    (folder / "spec.yaml").write_text(TINY)  # two models, and so work for two
    run = Started("run", "spec.yaml", "--out", "out", "-j", "2", cwd=folder)
    assert run.wait_for("attack ")
    processes = family(psutil.Process(run.process.pid))
    assert len(run.running(WORKER)) == 2
    run.process.kill()  # the driver alone
    _, alive = psutil.wait_procs(processes[1:], timeout=LONGEST)
    assert alive == []
    run.end()


@pytest.mark.parametrize("what", ["a worker", "what workers are forks of"])
def test_a_killed_worker_costs_nothing_but_time(folder: Path, undisturbed: Undisturbed, what: str) -> None:
    run = Started("run", "spec.yaml", "--out", "out", "-j", "2", cwd=folder)
    assert run.wait_for("attack ")
    killed = run.running(WORKER)[0]
    if what != "a worker":
        run.fork_server().kill()
        time.sleep(0.1)
    killed.kill()
    assert run.end() == 0, run.stderr
    assert_same(folder / "out", undisturbed)


@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_is_one_line_and_status_130(folder: Path, undisturbed: Undisturbed, jobs: int) -> None:
    run = Started("run", "spec.yaml", "--out", "out", "-j", str(jobs), cwd=folder)
    assert run.wait_for("attack ")
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
        assert harness_here("run", "spec.yaml", "--out", "out", "--quiet", cwd=folder).returncode == 0
        assert_same(folder / "out", undisturbed)


def test_ctrl_c_while_workers_start_is_quiet_too(folder: Path) -> None:
    run = Started("run", "spec.yaml", "--out", "out", "-j", "2", cwd=folder)
    assert run.wait_for("done already")
    end = time.monotonic() + LONGEST
    while not run.running(WORKER) and time.monotonic() < end:
        time.sleep(0.005)
    run.kill(signal.SIGINT)
    assert run.end() == 130
    assert "Traceback" not in run.stderr
