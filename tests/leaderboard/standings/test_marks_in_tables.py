"""A row's marks in the terminal's table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.records.read import read_run
from leaderboard.commands.print_standings import standings_markdown
from leaderboard.standings.standings import standings
from tests.leaderboard.fake_run import FakeCell, write_run


@pytest.mark.parametrize(
    ("defense", "adaptivity", "told"),
    [("filter (static)", "static", "filter (static)"), ("filter", "adaptive", "filter (adaptive)")],
)
def test_what_attacks_knew_is_said_once(tmp_path: Path, defense: str, adaptivity: str, told: str) -> None:
    (table,) = standings([read_run(write_run(tmp_path / "run", [FakeCell(defense=defense)]))])
    rows = [replace(row, adaptivity=(adaptivity,)) for row in table.rows]
    assert f"| {told} |" in standings_markdown([replace(table, rows=rows)])
