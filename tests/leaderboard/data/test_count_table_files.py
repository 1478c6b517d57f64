"""What is wrong with a table is named: file, row, column, and the fix."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.errors import DataError
from leaderboard.data.count_table_files import read_count_table
from leaderboard.fit.attack_scaling import fit_attack_scaling
from leaderboard.fit.offense_defense import fit_offense_defense
from tests.leaderboard.run_command import run_command

HEAD = "task,family,attack,n_params,seed,iteration,trials,successes,attack_compute"
GOOD = ["imdb,pythia,gcg,100,0,0,10,0,0", "imdb,pythia,gcg,100,0,1,10,3,1e-9", "imdb,pythia,gcg,100,0,2,10,5,2e-9"]


def write(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def complaint(path: Path) -> str:
    with pytest.raises(DataError) as error:
        read_count_table(path)
    assert str(path) in str(error.value)
    return str(error.value)


def test_a_good_table(tmp_path: Path) -> None:
    table = read_count_table(write(tmp_path, HEAD, *GOOD))
    assert table["successes"].tolist() == [0, 3, 5]
    assert table["attack_compute"].tolist() == [0, 1e-9, 2e-9]


def test_byte_order_mark_windows_lines_and_more_columns_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes("\ufeff".encode() + "\r\n".join([HEAD + ",note", *(f"{line},x" for line in GOOD)]).encode())
    assert len(read_count_table(path)) == 3


def test_semicolons_separate_columns_as_well(tmp_path: Path) -> None:
    commas = read_count_table(write(tmp_path, HEAD, *GOOD))
    semicolons = read_count_table(write(tmp_path, *(line.replace(",", ";") for line in (HEAD, *GOOD))))
    assert {name: column.tolist() for name, column in semicolons.columns.items()} == {
        name: column.tolist() for name, column in commas.columns.items()
    }


def test_utf_16_is_named(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("\n".join([HEAD, *GOOD]), encoding="utf-16")
    assert "UTF-16. Save it as UTF-8" in complaint(path)


@pytest.mark.parametrize("order", [1, -1])
def test_trials_that_change_within_a_curve_are_named(order: int, tmp_path: Path) -> None:
    lines = [*GOOD[:2], "imdb,pythia,gcg,100,0,2,9,5,2e-9"][::order]
    words = complaint(write(tmp_path, HEAD, *lines))
    assert "row 3" in words if order == 1 else "row 1" in words
    assert "'trials': 9, and 10 in row 2 of the same curve" in words
    other_seed = "imdb,pythia,gcg,100,1,0,9,0,0"
    assert len(read_count_table(write(tmp_path, HEAD, *GOOD, other_seed))) == 4


def test_no_compute_at_all_is_not_called_unknown(tmp_path: Path) -> None:
    lines = [f"imdb,pythia,gcg,100,0,{i},50,{9 * i},0" for i in range(5)]
    (fit,) = fit_attack_scaling(read_count_table(write(tmp_path, HEAD, *lines)))
    assert fit.line.note == "No compute above 0: nothing to fit."
    some = [f"imdb,pythia,gcg,100,0,{i},50,{9 * i + 5},{i}e-6" for i in range(5)]
    table = write(tmp_path, HEAD, *some)
    (fit,) = fit_attack_scaling(read_count_table(table))
    assert (fit.dropped, fit.line.slope is None) == (5, False)
    shown = run_command("fit", "attack-scaling", table)
    assert "left out" in shown


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("successes", "11", ["row 2", "'successes'", "more than the trials"]),
        ("successes", "-1", ["row 2", "'successes'", "below 0"]),
        ("successes", "2.5", ["row 2", "'successes'", "not a whole number"]),
        ("successes", "many", ["row 2", "'successes'", "'many'", "not a number"]),
        ("successes", "", ["row 2", "'successes'", "not a number"]),
        ("trials", "0", ["row 2", "'trials'", "below 1"]),
        ("attack_compute", "nan", ["row 2", "'attack_compute'", "not a number"]),
        ("attack_compute", "inf", ["row 2", "'attack_compute'", "finite"]),
        ("attack_compute", "-1e-9", ["row 2", "'attack_compute'", "below 0"]),
        ("attack_compute", "9", ["row 3", "'attack_compute'", "cumulative"]),
        ("n_params", "0", ["row 2", "'n_params'", "below 1"]),
        ("n_params", "1e30", ["row 2", "'n_params'", "whole number"]),
        ("task", "", ["row 2", "'task'", "not a name"]),
        ("iteration", "0", ["row 2", "'iteration'", "row 1"]),
    ],
)
def test_a_bad_value_is_named(column: str, value: str, words: list[str], tmp_path: Path) -> None:
    cells = GOOD[1].split(",")
    cells[HEAD.split(",").index(column)] = value
    text = complaint(write(tmp_path, HEAD, GOOD[0], ",".join(cells), GOOD[2]))
    assert all(word in text for word in words), text


@pytest.mark.parametrize("column", HEAD.split(","))
def test_a_missing_column_is_named(column: str, tmp_path: Path) -> None:
    head = HEAD.replace(column, "other")
    assert f"{column!r} is missing" in complaint(write(tmp_path, head, *GOOD))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        HEAD.encode(),
        b"\x1f\x8bxx",
        gzip.compress(b"x" * 99, mtime=0)[:20],
        b"PAR1rest",
        b"\xff\xfe\x00",
        b'a,"b\n1',
    ],
)
def test_what_is_not_a_table_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_bytes(content)
    complaint(path)


def test_rows_of_unequal_length_and_doubled_columns(tmp_path: Path) -> None:
    assert "not a CSV" in complaint(write(tmp_path, HEAD, "a,b"))
    assert "twice" in complaint(write(tmp_path, HEAD + ",seed", *(f"{line},0" for line in GOOD)))


def test_missing_files_and_folders(tmp_path: Path) -> None:
    assert "no such file" in complaint(tmp_path / "nowhere.csv")
    assert "run.json" in complaint(tmp_path)


def test_parquet_types(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    columns = dict(zip(HEAD.split(","), zip(*(line.split(",") for line in GOOD), strict=True), strict=True))
    pq.write_table(pa.table({name: list(values) for name, values in columns.items()}), path)
    assert len(read_count_table(path)) == 3  # numbers written as text are numbers
    pq.write_table(pa.table({**{n: list(v) for n, v in columns.items()}, "seed": [True, False, True]}), path)
    assert "'seed' holds bool" in complaint(path)
    pq.write_table(pa.table({**{n: list(v) for n, v in columns.items()}, "task": [1, 2, 3]}), path)
    assert "not a name" in complaint(path)
    pq.write_table(pa.table({**{n: list(v) for n, v in columns.items()}, "successes": [1, None, 2]}), path)
    assert "row 2" in complaint(path)


def test_offense_defense_needs_its_columns(tmp_path: Path) -> None:
    table = read_count_table(write(tmp_path, HEAD, *GOOD))
    with pytest.raises(DataError, match="'round' is missing"):
        fit_offense_defense(table, 0.02)
    head, rows = HEAD + ",round,defense_compute", [f"{line},1,0" for line in GOOD]
    with pytest.raises(DataError, match="no row with defense_compute above 0"):
        fit_offense_defense(read_count_table(write(tmp_path, head, *rows)), 0.02)
    rows = [f"{line},1,{at}" for at, line in enumerate(GOOD)]
    with pytest.raises(DataError, match="seed 0, round 1 has 3 values"):
        fit_offense_defense(read_count_table(write(tmp_path, head, *rows)), 0.02)
    with pytest.raises(DataError, match="target ASR"):
        fit_offense_defense(read_count_table(write(tmp_path, head, *rows)), 0)
