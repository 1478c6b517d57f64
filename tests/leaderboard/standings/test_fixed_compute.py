"""Attacks side by side at the same compute."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.errors import DataError
from harness.records.read import read_run
from leaderboard.standings.fixed_compute import AttackTable, attack_tables
from tests.leaderboard.fake_run import FakeCell, write_run


def attack(name: str, *first_success: int, **more: Any) -> FakeCell:
    return FakeCell(attack=name, examples=len(first_success), first_success=first_success, **{"steps": 4} | more)


CELLS = [
    attack("a", 1, 2, 3, 4, step_flops=1e9),
    attack("b", 1, 1, 2, 0, step_flops=2.5e9),
    attack("none", 0, 0, 0, 0, step_flops=0.0, steps=1),
]


def table(tmp_path: Path, *cells: FakeCell, **options: Any) -> AttackTable:
    (found,) = attack_tables([read_run(write_run(tmp_path / "run", cells))], **options)
    return found


def column(found: AttackTable, at: int = 0) -> dict[str, tuple[float | None, float | None, str]]:
    rows = zip(found.attacks, found.entries, strict=True)
    entries = {name: row[at] for name, row in rows}
    return {
        name: (e.asr.value if e.asr else None, None if e.spent is None else e.spent / 1e9, e.remark)
        for name, e in entries.items()
        if e is not None
    }


def test_the_smallest_full_budget_that_is_not_nothing(tmp_path: Path) -> None:
    found = table(tmp_path, *CELLS)
    assert found.columns[0].budget == pytest.approx(4e9)
    # b has made one step of 2.5e9 by then; its second would end at 5e9.
    assert column(found) == {"a": (1, 4, ""), "b": (0.5, 2.5, ""), "none": (0, 0, "spent less")}
    assert found.attacks == ("a", "b", "none")


@pytest.mark.parametrize(
    ("budget", "want"),
    [
        (2e9, {"a": (0.5, 2, ""), "b": (None, None, "one step takes more"), "none": (0, 0, "spent less")}),
        (5e9, {"a": (1, 4, "spent less"), "b": (0.75, 5, ""), "none": (0, 0, "spent less")}),
        (10e9, {"a": (1, 4, "spent less"), "b": (0.75, 10, ""), "none": (0, 0, "spent less")}),
    ],
)
def test_at_a_given_compute(budget: float, want: dict[str, Any], tmp_path: Path) -> None:
    assert column(table(tmp_path, *CELLS, budget=budget)) == want


def test_at_given_queries(tmp_path: Path) -> None:
    found = table(tmp_path, *CELLS, budget=256, unit="queries")
    assert {name: entry[0] for name, entry in column(found).items()} == {"a": 0.5, "b": 0.75, "none": 0}
    assert column(found)["none"][2] == "spent less"


def test_unknown_compute_is_no_number_and_queries_are(tmp_path: Path) -> None:
    cells = [attack("a", 1, 0), attack("b", 1, 1, step_flops=None)]
    assert column(table(tmp_path / "1", *cells))["b"] == (None, None, "compute unknown")
    assert column(table(tmp_path / "2", *cells, budget=128, unit="queries"))["b"][0] == 1
    alone = table(tmp_path / "3", cells[1])
    assert alone.columns[0].budget is None
    assert column(alone) == {"b": (None, None, "compute unknown")}


def test_strings_found_elsewhere_are_marked(tmp_path: Path) -> None:
    source = {"attack": "a", "victim": "v", "defense": "none", "threat": "t"}
    found = column(table(tmp_path, *CELLS, attack("transfer", 1, 1, 1, 1, steps=1, step_flops=0.0, source=source)))
    assert found["transfer"] == (1, 0, "search elsewhere")


def test_tasks_and_victims_are_columns_and_threats_and_spaces_are_tables(tmp_path: Path) -> None:
    cells = [
        *(FakeCell(attack=a, victim=v, n_params=n) for a in "ab" for v, n in (("v9", 9000), ("v10", 10_000))),
        FakeCell(attack="a", task="spam", data_hash="e" * 64),
        FakeCell(attack="a", threat="prefix, 10 tokens, gradient"),
        FakeCell(attack="pgd", space="latent"),
        FakeCell(attack="a", defense="at", round=1, defense_flops=1.0),
    ]
    found = attack_tables([read_run(write_run(tmp_path / "run", cells))])
    assert [(t.scope.threat[:6], t.scope.space, len(t.columns)) for t in found] == [
        ("prefix", "text", 1),
        ("suffix", "text", 3),
        ("suffix", "latent", 1),
    ]
    assert [(c.task, c.victim) for c in found[1].columns] == [
        ("spam", "tiny(size=small)"),
        ("word_length", "v9"),
        ("word_length", "v10"),
    ]
    assert found[1].entries[found[1].attacks.index("b")][0] is None  # b was not run on spam
    assert found[2].scope.notice.startswith("Latent space: not comparable with text attacks")


def test_a_defense_by_its_label(tmp_path: Path) -> None:
    rounds = [attack("a", 1, 0, defense="at", round=r, defense_flops=1.0) for r in (1, 2)]
    found = table(tmp_path, attack("a", 1, 1), *rounds, defense="at")
    assert [(c.round, e.asr.value) for c, e in zip(found.columns, found.entries[0], strict=True) if e and e.asr] == [
        (1, 0.5),
        (2, 0.5),
    ]
    with pytest.raises(
        DataError, match=r"--defense guard: no finished cell has this defense\. The runs have: at, none"
    ):
        attack_tables([read_run(tmp_path / "run")], defense="guard")


def test_seeds_are_pooled_in_the_mean(tmp_path: Path) -> None:
    cells = [attack("a", 1, 0, step_flops=1e9), attack("a", 2, 2, step_flops=3e9, seed=1)]
    assert column(table(tmp_path, *cells, budget=2e9)) == {"a": (0.25, 2, "")}


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(write_run(tmp_path / "run", [*CELLS, attack("x|y", 1, 0, 0, 0, step_flops=9e9)]))
    assert main(["leaderboard", "attacks", run]) == 0
    shown = capsys.readouterr().out
    assert "4.0 × 10⁹ FLOPs" in shown  # the compute that was chosen
    assert "* spends less" in shown
    assert "Intervals of one seed are of this one model only." in shown
    assert main(["leaderboard", "attacks", run, "--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:5] == ["| attack | word\\_length · tiny(size=small) |", "| --- | ---: |", "|  | 4.0 × 10⁹ FLOPs |"]
    assert lines[5].startswith("| a | 100.0% (51.0 – 100.0% of 4) |")
    assert "| none | 0.0%\\* (0.0 – 49.0% of 4) |" in lines
    assert "| x\\|y | –‡ |" in lines
    assert main(["leaderboard", "attacks", run, "--compute", "5e9", "--json"]) == 0
    told = {entry["attack"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert told["b"]["asr"]["value"] == 0.75
    assert (told["a"]["mark"], told["a"]["budget"], told["a"]["spent"]) == ("spent less", 5e9, 4e9)
    assert told["x|y"]["asr"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--compute", "1e9", "--queries", "5"], "--compute and --queries"),
        (["--markdown", "--json"], "--markdown and --json"),
        (["--compute", "0"], "--compute 0 is not a positive number"),
        (["--queries", "nan"], "--queries nan is not a positive number"),
        (["--defense", "guard"], "no finished cell has this defense"),
    ],
)
def test_wrong_options(arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(write_run(tmp_path / "run", CELLS))
    assert main(["leaderboard", "attacks", run, *arguments]) != 0
    assert words in capsys.readouterr().err
