"""The export: a row for each row of the standings, numbers with their intervals, and the licence."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from harness.errors import DataError
from harness.records.read import read_run
from leaderboard.site.downloads.export import write_csv
from leaderboard.site.site_data import payload
from leaderboard.standings.standings import standings
from tests.leaderboard.fake_run import FakeCell, write_run


def test_rows_of_a_run(tmp_path: Path) -> None:
    cells = [FakeCell(victim=victim, seed=seed) for victim in ("a", "=b") for seed in (0, 1)]
    cells += [FakeCell(victim="c", step_flops=None)]
    run = read_run(write_run(tmp_path / "run", cells))
    sections = payload([run], standings([run]))["sections"]
    write_csv(tmp_path / "rows.csv", sections)
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    of_page = [row for section in sections for row in section["rows"]]
    assert len(rows) == len(of_page) == 3
    assert {row["license"] for row in rows} == {"CC0-1.0"}
    assert "'=b" in {row["victim"] for row in rows}  # a spreadsheet takes it for no formula
    for row, on_page in zip(rows, of_page, strict=True):
        assert on_page["asr"] is not None
        for column, name in (("", "value"), ("_low", "low"), ("_high", "high"), ("_trials", "trials")):
            assert float(row[f"asr_share{column}"]) == on_page["asr"][name]  # type: ignore[literal-required]
        assert on_page["breaking"] is not None
        compute = on_page["breaking"]["compute"]
        assert row["to_target_flops_per_example"] == ("" if compute is None else str(compute))
        assert row["asr_with_claims_share"] == ""  # nobody claims anything
    assert {row["victim"]: row["to_target_flops_per_example"] for row in rows}["c"] == ""  # unknown is not zero


def test_nothing_to_export(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Nothing to export"):
        write_csv(tmp_path / "rows.csv", [])
