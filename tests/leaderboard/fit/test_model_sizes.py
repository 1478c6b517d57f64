"""Sizes of victims without embeddings, of runs and of tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import DataError
from harness.records.read import read_run
from leaderboard.fit.sizes.model_sizes import sizes_without_embeddings
from tests.leaderboard.fake_run import FakeCell, write_run
from tests.leaderboard.run_command import run_command

HEADER = "task,family,attack,n_params,seed,iteration,trials,successes,attack_compute"


def table(path: Path, rows: list[tuple[int, int]]) -> Path:
    lines = [f"{HEADER},n_params_non_embedding"]
    for number, (size, without) in enumerate(rows):
        lines += [f"t,f,a,{size},{number},{at},100,{8 * at},{at / size},{without}" for at in range(1, 9)]
    path.write_text("\n".join(lines))
    return path


def test_records_tell_them(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [FakeCell(victim="a"), FakeCell(victim="b", n_params=None)])
    (size,) = sizes_without_embeddings(read_run(run)).values()
    assert size == 50_000  # of a; nobody knows that of b


def test_a_table_tells_them_in_a_column_of_its_own(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", [(2000, 100), (3000, 1000), (12000, 10000)])
    assert sizes_without_embeddings(path) == {
        ("f", None, 2000): 100,
        ("f", None, 3000): 1000,
        ("f", None, 12000): 10000,
    }
    ((every,), (without,)) = (
        json.loads(run_command("fit", "size-scaling", path, "--parameters", counted, "--json"))
        for counted in ("all", "non-embedding")
    )
    assert (every["parameters"], without["parameters"]) == ("all", "non-embedding")
    assert every["slope"] != without["slope"]
    told = run_command("fit", "size-scaling", path, "--parameters", "non-embedding")
    assert "parameters without embeddings" in " ".join(told.split())


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([(2000, 100), (2000, 200)], "says 200, and 100 in other rows of the same model"),
        ([(2000, 3000)], "says 3000, more than the n_params 2000 of its row"),
        ([(2000, 0)], "row 1 (not counting the header), column 'n_params_non_embedding': 0 is below 1"),
    ],
)
def test_what_cannot_be_is_said(tmp_path: Path, rows: list[tuple[int, int]], said: str) -> None:
    with pytest.raises(DataError) as error:
        sizes_without_embeddings(table(tmp_path / "t.csv", rows))
    assert said in str(error.value)
    assert "t.csv" in str(error.value)


def test_a_table_without_the_column_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"{HEADER}\nt,f,a,2000,0,1,100,8,0.5")
    with pytest.raises(DataError, match=r"column 'n_params_non_embedding' is missing. Add it, or leave out"):
        sizes_without_embeddings(path)
