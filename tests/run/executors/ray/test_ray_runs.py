"""A run on a cluster ends with the records of a run on one machine, whatever is lost on the way."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.run.executors.ray.conftest import PLUGINS, Nodes, far, wait_until, workers_of
from tests.run.runs import TRAINED, Started, harness, harness_here, records, status, weights

pytestmark = pytest.mark.slow
CELLS, STEPS, EXAMPLES = 4, 12, 3


def slow(trace: Path, cells: int = CELLS, **more: object) -> str:
    """A spec of cells that take a few seconds each."""
    params = {"steps": STEPS, "pause": 0.08, "trace": str(trace), **more}
    return f"""
name: slow
version: "1"
tasks: [{{weather_or_food: {{size: 40}}}}]
victims: [counts]
attacks: [{{slow: {json.dumps(params)}}}]
threats: [{{tokens: 4}}]
seeds: {list(range(cells))}
examples: {EXAMPLES}
clean_examples: 20
"""


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of the slow cells on one machine, without their pauses."""
    folder = tmp_path_factory.mktemp("local")
    (folder / "spec.yaml").write_text(slow(folder / "trace.txt", pause=0))
    done = harness_here("run", "spec.yaml", "--out", "local", "--quiet", *PLUGINS, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "local"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the spec of slow cells."""
    (tmp_path / "spec.yaml").write_text(slow(tmp_path / "trace.txt"))
    return tmp_path


def rounds(folder: Path) -> int:
    """Rounds of steps done so far, redone ones as well."""
    return (folder / "trace.txt").read_text().count("\n") // EXAMPLES if (folder / "trace.txt").exists() else 0


def begun(folder: Path, nodes: Nodes) -> Started:
    """A run on the cluster that has done some rounds of its first cells."""
    run = Started(*far(nodes), cwd=folder)
    assert run.wait_for("done already")
    wait_until(lambda: rounds(folder) > 4)
    return run


def test_trained_models_and_records_are_those_of_one_machine(tmp_path: Path, nodes: Nodes) -> None:
    (tmp_path / "spec.yaml").write_text(TRAINED)
    assert harness_here("run", "spec.yaml", "--out", "local", "--quiet", cwd=tmp_path).returncode == 0
    nodes.add()
    nodes.add()
    done = harness(*far(nodes, "--json"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout), done.stderr) == ({"run": "far", "done": 6, "failed": [], "untold": []}, "")
    assert records(tmp_path / "far") == records(tmp_path / "local")
    assert weights(tmp_path / "far") == weights(tmp_path / "local")
    assert not list((tmp_path / "far").glob("cells/*/journal.jsonl"))
    again = harness(*far(nodes, "--json"), cwd=tmp_path)
    assert json.loads(again.stdout)["done"] == 6


def test_a_worker_a_node_and_then_the_last_node_are_lost(folder: Path, local: Path, nodes: Nodes) -> None:
    first, second = nodes.add(), nodes.add()
    run = Started(*far(nodes), cwd=folder)
    assert run.wait_for("start a worker on the cluster")
    wait_until(lambda: rounds(folder) > 6 and workers_of(first))
    workers_of(first)[0].kill()
    assert run.wait_for("died (")
    before = rounds(folder)
    wait_until(lambda: rounds(folder) > before + 6)
    nodes.kill(second)
    assert run.wait_for("was lost; another continues")
    before = rounds(folder)
    wait_until(lambda: rounds(folder) > before + 2)
    nodes.kill(first)
    assert run.wait_for("waiting for one")
    nodes.add()
    assert run.end() == 0, run.stderr
    assert records(folder / "far") == records(local)
    assert run.stderr.count("goes on after round") == 3, run.stderr
    assert CELLS * STEPS <= rounds(folder) <= CELLS * STEPS + 3, "what was under way is all that is done twice"
    assert "Traceback" not in run.stderr


def test_a_killed_driver_and_one_that_is_stopped_leave_a_run_that_goes_on_anywhere(
    folder: Path, local: Path, nodes: Nodes
) -> None:
    node = nodes.add()
    run = begun(folder, nodes)
    run.kill()
    run.end()
    wait_until(lambda: not workers_of(node))

    before = rounds(folder)
    run = Started(*far(nodes), cwd=folder)
    wait_until(lambda: rounds(folder) > before + 4)
    run.kill(signal.SIGINT)
    assert run.end() == 130
    assert "goes on after round" in run.stderr
    assert run.lines[-1] == "Stopped. Run the same command again to continue from here: far\n"
    assert "Traceback" not in run.stderr
    wait_until(lambda: not workers_of(node))
    counts = status(folder / "far")["counts"]
    assert counts["failed"] == 0
    assert counts["done"] < CELLS

    here = harness_here("run", "spec.yaml", "--out", "far", *PLUGINS, cwd=folder)
    assert here.returncode == 0, here.stderr
    assert "goes on after round" in here.stderr
    assert records(folder / "far") == records(local)
    assert rounds(folder) <= CELLS * STEPS + 2, "what was under way is all that is done twice"


def test_resources_are_those_of_the_spec(tmp_path: Path, nodes: Nodes) -> None:
    trace = tmp_path / "trace.txt"
    spec = slow(trace, steps=2) + "resources: [{cpus: 1}, {victim: counts, cpus: 2, gpus: 2, memory: 100MiB}]\n"
    (tmp_path / "spec.yaml").write_text(spec)
    nodes.add(num_cpus=4)
    nodes.add(num_cpus=4, num_gpus=2, memory=500 * 2**20)
    done = harness(*far(nodes), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = {tuple(line.split()[2:]) for line in trace.read_text().splitlines()}
    assert lines == {("gpus=0,1", "threads=1")}, "threads: the tests' own setting wins over the cluster's"
    assert len({line.split()[0] for line in trace.read_text().splitlines()}) == 1, "there were GPUs for one worker"


def test_what_no_machine_has_is_told(tmp_path: Path, nodes: Nodes) -> None:
    (tmp_path / "spec.yaml").write_text(slow(tmp_path / "trace.txt") + "resources: [{cpus: 64, gpus: 8}]\n")
    nodes.add()
    done = harness(*far(nodes, "--node-wait", "1", "--json"), cwd=tmp_path)
    assert done.returncode == 1
    outcome = json.loads(done.stdout)
    assert len(outcome["failed"]) == CELLS
    assert "asks for 64 CPUs, 8 GPUs, and the largest machines of the cluster have 1 CPUs, 0 GPUs" in done.stderr


def test_a_step_that_hangs_ends_its_cell_alone(tmp_path: Path, nodes: Nodes) -> None:
    hangs = tmp_path / "hangs"
    (tmp_path / "spec.yaml").write_text(
        slow(tmp_path / "trace.txt", 2, steps=2, hangs=str(hangs)) + "step_seconds: 3\n"
    )
    hangs.touch()
    nodes.add()
    nodes.add()
    done = harness(*far(nodes, "--json"), cwd=tmp_path)
    assert done.returncode == 1
    errors = {failed["error"] for failed in json.loads(done.stdout)["failed"]}
    assert len(json.loads(done.stdout)["failed"]) == 2
    assert errors == {"a step of attack slow (round 1, 3 side by side) took longer than step_seconds (3)"}
    assert all("plugins.py" in path.read_text() for path in (tmp_path / "far/cells").glob("*/error.txt"))
    hangs.unlink()
    here = harness_here("run", "spec.yaml", "--out", "far", "--quiet", *PLUGINS, cwd=tmp_path)
    assert here.returncode == 0, here.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--executor", "ray", "--address", "127.0.0.1:1"], "--address 127.0.0.1:1: no cluster to join"),
        (["--executor", "ray", "--address", "ray://127.0.0.1:1"], "a client's address"),
        (["--address", "127.0.0.1:1"], "--address is for --executor ray"),
    ],
)
def test_a_cluster_that_is_not_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "")
    (tmp_path / "spec.yaml").write_text(slow(tmp_path / "trace.txt"))
    done = harness_here("run", "spec.yaml", *PLUGINS, *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def test_a_machine_that_cannot_take_part_says_why(tmp_path: Path, nodes: Nodes) -> None:
    (tmp_path / "spec.yaml").write_text(slow(tmp_path / "trace.txt"))
    (tmp_path / "picky.py").write_text(
        'import os\nif os.environ.get("FAR"):\n    raise RuntimeError("my library is missing")\n'
        "from harness import hookimpl\n@hookimpl\ndef harness_register_attacks(register):\n    pass\n"
    )
    nodes.add(env_vars={"FAR": "1"})
    done = harness(*far(nodes, "--plugin", "picky.py", "--quiet"), cwd=tmp_path)
    assert done.returncode == 2
    assert "my library is missing" in done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert status(tmp_path / "far")["counts"]["failed"] == 0
