"""A row of an "undefended" victim says what its own training hardened it with, and what that training took."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from harness.records.read import read_run
from leaderboard.commands.print_standings import print_standings
from leaderboard.site.build import build_site
from leaderboard.site.site_data import payload
from leaderboard.standings.standings import standings
from tests.leaderboard.fake_run import FakeCell, write_run

WORDS = "random strings in 30% of its examples"


def test_page_json_downloads_and_terminal_say_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hardened = FakeCell(victim="tiny", trained_against=WORDS, reference_flops=3e13)
    run = read_run(write_run(tmp_path / "run", [hardened, replace(hardened, victim="plain", trained_against="")]))
    tables = standings([run])
    (table,) = tables
    by_victim = {row.victim: row for row in table.rows}
    assert by_victim["tiny"].trained_against == WORDS
    assert by_victim["tiny"].preparation_compute == pytest.approx(3e13)
    index = build_site([run], tmp_path / "site")
    assert index.read_text().count(f"trained with {WORDS}") == 1
    assert "training of the victim\n3.0 × 10¹³" in index.read_text()
    (page,) = (p for p in (index.parent / "entries").iterdir() if p.name.startswith("tiny"))
    assert f"trained with {WORDS}" in page.read_text()
    rows = {row["victim"]: row for row in payload([run], tables)["sections"][0]["rows"]}
    assert (rows["tiny"]["trained_against"], rows["tiny"]["preparation_compute"]) == (WORDS, 3e13)
    assert rows["plain"]["trained_against"] == ""
    with (index.parent / "downloads" / "standings.csv").open() as file:
        assert {row["victim"]: row["trained_against"] for row in csv.DictReader(file)} == {"tiny": WORDS, "plain": ""}
    print_standings(tables)
    assert f"tiny: trained with {WORDS}" in capsys.readouterr().out
