"""Utility when clean and under attack, from the tables of a run to every place that shows standings."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from harness.records.cell_manifest import DefenseFacts
from harness.records.exclusion import ALREADY_BROKEN, BLOCKED, NO_CLEAN_ANSWER
from harness.records.read import Run, read_run
from harness.records.schema import EXAMPLES, STEPS
from leaderboard.commands.print_standings import print_standings
from leaderboard.fit.pooled_rates import pooled_rate
from leaderboard.site.build import build_site
from leaderboard.standings.standings import standings
from tests.leaderboard.fake_run import FakeCell, write_run

CELL = FakeCell(
    task="injections", task_kind="text", wrong=0, steps=3, judge="answer_rule", examples=4, first_success=[2, 0, 0, 1]
)
LEFT_OUT = {"b": (ALREADY_BROKEN, False), "g": (BLOCKED, False), "n": (NO_CLEAN_ANSWER, None), "u": (BLOCKED, None)}
CLEAN = (True, True, False, True)
"""Of the attacked examples; with those that were left out 3 of 6 do what the user asked."""


def run_of(path: Path, cells: Mapping[FakeCell, Sequence[Sequence[bool | None]]]) -> Run:
    """A run in which the answers to the steps of each attacked example do what the user asked, or not."""
    run = write_run(path, list(cells))
    for cell, utility in cells.items():
        folder = run / "cells" / cell.key
        rows = pq.read_table(folder / "examples.parquet").to_pylist()
        rows = [row | {"utility": done} for row, done in zip(rows, CLEAN, strict=True)]
        names = [row["example"] for row in rows]
        rows += [
            {"example": name, "attacked": False, "excluded": why, "utility": done}
            for name, (why, done) in LEFT_OUT.items()
        ]
        pq.write_table(pa.Table.from_pylist(rows, EXAMPLES), folder / "examples.parquet")
        steps = pq.read_table(folder / "steps.parquet").to_pylist()
        steps = [row | {"utility": utility[names.index(row["example"])][row["step"] - 1]} for row in steps]
        pq.write_table(pa.Table.from_pylist(steps, STEPS), folder / "steps.parquet")
    return read_run(run)


class Hashable(FakeCell):
    __hash__ = object.__hash__


def cell(**changes: object) -> FakeCell:
    return Hashable(**vars(replace(CELL, **changes)))  # type: ignore[arg-type]


def test_the_first_success_counts_or_the_last_answer_that_tells(tmp_path: Path) -> None:
    said = [
        (True, False, True),  # fell at step 2, where the user's task was not done
        (False, False, True),
        (True, False, None),  # the last string failed: what was said before it counts
        (None, False, False),  # fell at step 1, of which nothing is told
    ]
    (row,) = standings([run_of(tmp_path / "run", {cell(): said})])[0].rows
    assert row.under_attack is not None
    assert row.under_attack.clean == pooled_rate([3], [6])
    # 1 of 4 attacked ones, and two that were left out with the clean answer they got.
    assert row.under_attack.attacked == {"gcg": pooled_rate([1], [6])}


def test_seeds_are_pooled_and_attacks_stand_beside_each_other(tmp_path: Path) -> None:
    all_, none = [[True] * 3] * 4, [[False] * 3] * 4
    cells = {cell(): all_, cell(seed=1): none, cell(attack="beast", first_success=[0] * 4): all_}
    (row,) = standings([run_of(tmp_path / "run", cells)])[0].rows
    assert row.under_attack is not None
    found = {attack: (rate.successes, rate.trials, rate.seeds) for attack, rate in row.under_attack.attacked.items()}
    assert found == {"beast": (4, 6, 1), "gcg": (4, 12, 2)}


def test_without_rules_nothing_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = read_run(write_run(tmp_path / "run", [CELL]))
    for made in (tmp_path / "run" / "cells").rglob("*.parquet"):  # as runs of before have them
        pq.write_table(pq.read_table(made).drop_columns(["utility"]), made)
    (table,) = standings([old])
    assert table.rows[0].under_attack is None
    print_standings([table])
    assert "tility" not in capsys.readouterr().out


def test_it_stands_wherever_standings_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leaderboard.commands.print_standings.wide_console", lambda: Console(width=500))
    cells = {cell(): [[False] * 3] * 4, cell(attack="beast", first_success=[0] * 4): [[True] * 3] * 4}
    runs = [run_of(tmp_path / "run", cells), read_run(write_run(tmp_path / "plain", [replace(CELL, task="other")]))]
    print_standings(standings(runs))
    said = " ".join(capsys.readouterr().out.split())
    for part in ("utility when clean", "utility under attack", "50.0%", "beast 66.7% ("):
        assert part in said
    build_site(runs, tmp_path / "site")
    for page in (tmp_path / "site" / "index.html", *(tmp_path / "site" / "entries").iterdir()):
        text = page.read_text()
        assert ("Utility under attack" in text) == ("beast 66.7% (" in text)
    assert "beast 66.7% (" in (tmp_path / "site" / "index.html").read_text()
    data = json.loads((tmp_path / "site" / "data.json").read_text())
    told = {section["task"]: section["rows"][0]["under_attack"] for section in data["sections"]}
    assert told["other"] is None
    assert [(rate["attack"], rate["successes"]) for rate in told["injections"]["attacked"]] == [
        ("beast", 4),
        ("gcg", 0),
    ]
    with next((tmp_path / "site").rglob("standings.csv")).open(newline="") as file:
        flat = {row["task"]: row for row in csv.DictReader(file)}
    assert flat["injections"]["clean_utility"] == "0.5"
    assert flat["injections"]["utility_under_attack"].startswith("beast: 0.66")
    assert (flat["other"]["clean_utility"], flat["other"]["utility_under_attack"]) == ("", "")


@pytest.mark.parametrize(("benign", "measure"), [(4, "answered when clean"), (3, "clean accuracy")])
def test_benign_prompts_that_are_asked_clean_alone_show_utility(tmp_path: Path, benign: int, measure: str) -> None:
    facts = DefenseFacts(benign_clean=benign, over_refused=1).model_dump(mode="json")
    named = {"utility": {"tasks": ["clean alone"], "max_loss": None}}
    more = named | {"n_clean": 4, "n_clean_correct": 3, "defense_facts": facts}
    asked = replace(CELL, task="clean alone", attack="none", examples=0, first_success=[], more=more)
    run = write_run(tmp_path / "run", [replace(CELL, more=named), asked])
    tables = {table.section.scope.task: table for table in standings([read_run(run)])}
    assert tables["clean alone"].section.clean_measure == measure
    found = {utility.task: utility.rate for utility in tables["injections"].rows[0].utilities}
    assert found == {"clean alone": pooled_rate([3], [4]) if benign == 4 else None}
