"""Run directories are read back, and what is wrong with one is named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from harness.errors import DataError
from harness.records.read import read_run
from leaderboard.data.count_table_of_run import run_count_table
from leaderboard.data.trajectories import read_trajectories
from tests.leaderboard.fake_quickstart import quickstart_cells
from tests.leaderboard.fake_run import FakeCell, first_successes, write_cell, write_run


def test_cells_failed_and_unfinished(tmp_path: Path) -> None:
    cells = [FakeCell(), FakeCell(seed=1), FakeCell(seed=2, status="failed")]
    run = read_run(write_run(tmp_path / "run", cells, unfinished=2))
    assert {cell.record.key for cell in run} == {cells[0].key, cells[1].key}
    assert [record.error for record in run.failed] == ["VictimError: the model is not there"]
    assert run.unfinished == 2
    assert run.info["spec_name"] == "fake"
    assert run.cells[0].steps(["step"]).column_names == ["step"]
    assert run.cells[0].examples().num_rows == 42


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f.parents[1] / "run.json").unlink(), "run.json is missing"),
        (lambda f: (f.parents[1] / "run.json").write_text("{"), "run.json: cannot be read as JSON"),
        (lambda f: (f.parents[1] / "run.json").write_text('{"format": 1}'), "record format 1"),
        (lambda f: (f / "cell.json").write_text("[]"), "cell.json: holds list"),
        (lambda f: (f / "cell.json").write_text('{"format": 9}'), "record format 9"),
        (lambda f: (f / "cell.json").write_text('{"format": 2}'), "cell.json: key: Field required"),
        (lambda f: (f / "steps.parquet").unlink(), "steps.parquet: missing"),
        (lambda f: (f / "steps.parquet").write_bytes(b"PAR1"), "steps.parquet: cannot be read as Parquet"),
        (lambda f: (f / "examples.parquet").write_bytes((f / "steps.parquet").read_bytes()), "no column 'attacked'"),
    ],
)
def test_spoilt_files_are_named(spoil, words: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    run = write_run(tmp_path / "run", [])
    folder = write_cell(run, FakeCell())
    spoil(folder)
    with pytest.raises(DataError) as error:
        run_count_table(read_run(run))
    assert words in str(error.value)


def test_a_gap_in_the_steps_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [])
    folder = write_cell(run, FakeCell(examples=3, steps=4))
    steps = pq.read_table(folder / "steps.parquet")
    pq.write_table(steps.take([0, 1, 3, *range(4, 12)]), folder / "steps.parquet")
    with pytest.raises(DataError, match="'e0' have a gap"):
        run_count_table(read_run(run))


def test_the_table_of_a_run(tmp_path: Path) -> None:
    cell = FakeCell(examples=4, steps=5, first_success=[1, 3, 0, 5], step_flops=2e9, reference_flops=1e12)
    table = run_count_table(read_run(write_run(tmp_path / "run", [cell])))
    assert table["iteration"].tolist() == [1, 2, 3, 4, 5]
    assert table["successes"].tolist() == [1, 1, 2, 2, 3]
    assert table["trials"].tolist() == [4] * 5
    assert table["attack_compute"] == pytest.approx(np.arange(1, 6) * 2e-3)
    assert (table["task"][0], table["family"][0], table["n_params"][0]) == ("word_length", "pythia", 100_000)


def test_at_step_may_fall_and_so_far_may_not(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [])
    folder = write_cell(run, FakeCell(examples=1, steps=3, first_success=[2]))
    steps = pq.read_table(folder / "steps.parquet").to_pylist()
    steps[2]["success"] = False
    schema = pq.read_schema(folder / "steps.parquet")
    pq.write_table(pq.read_table(folder / "steps.parquet").from_pylist(steps, schema), folder / "steps.parquet")
    assert run_count_table(read_run(run), "at_step")["successes"].tolist() == [0, 1, 0]
    assert run_count_table(read_run(run), "so_far")["successes"].tolist() == [0, 1, 1]


def test_stopping_on_success_keeps_success_and_stops_the_clock(tmp_path: Path) -> None:
    cell = FakeCell(examples=2, steps=4, first_success=[2, 0], step_flops=1e9, stop_on_success=True)
    run = read_run(write_run(tmp_path / "run", [cell]))
    found = read_trajectories(run.cells[0])
    assert found.at_step.tolist() == [[False, True, True, True], [False] * 4]
    assert found.compute.tolist() == [[1e9, 2e9, 2e9, 2e9], [1e9, 2e9, 3e9, 4e9]]
    assert run_count_table(run, "at_step")["successes"].tolist() == [0, 1, 1, 1]


def test_nothing_finished(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0 failed, 1 unfinished"):
        run_count_table(read_run(write_run(tmp_path / "run", [], unfinished=1)))


def test_the_made_up_law_is_recovered(tmp_path: Path) -> None:
    """A run of many examples has the slope it was made with."""
    from leaderboard.fit.attack_scaling import fit_attack_scaling

    cells = [FakeCell(seed=seed, examples=800, steps=30, hardness=9.8, slope=2.0) for seed in range(3)]
    assert sum(step > 0 for step in first_successes(cells[0])) > 400
    (fit,) = fit_attack_scaling(run_count_table(read_run(write_run(tmp_path / "run", cells))))
    assert fit.line.slope == pytest.approx(2.0, abs=0.15)
    assert fit.line.intercept == pytest.approx(-2.0 * (9.8 - 14), abs=0.7)
    assert fit.seeds == 3


@pytest.mark.slow
def test_no_torch_and_a_light_start(tmp_path: Path) -> None:
    write_run(tmp_path / "run", quickstart_cells(seeds=1, tasks=["word_length"])[:2])
    code = (
        "import sys, leaderboard, leaderboard.commands.leaderboard\n"
        "light = {'torch', 'scipy', 'pyarrow', 'numpy', 'jinja2', 'vl_convert'} & set(sys.modules)\n"
        "from leaderboard.site.build import build_site\n"
        "from harness.records.read import read_run\n"
        f"build_site([read_run({str(tmp_path / 'run')!r})], {str(tmp_path / 'site')!r})\n"
        "heavy = {'torch', 'transformers'} & set(sys.modules)\n"
        "import json; print(json.dumps([sorted(light), sorted(heavy)]))\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(out) == [[], []]
