"""Which rows have a rank side by side: whole ones, of victims that know their task, that met the same attacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import DataError
from harness.records.read import read_run
from leaderboard.commands.print_standings import print_standings
from leaderboard.figures.defense_panels import _round_cost
from leaderboard.site.build import build_site
from leaderboard.site.site_data import payload
from leaderboard.standings.standing import Standing
from leaderboard.standings.standings import Standings, across_victims, standings
from tests.leaderboard.fake_run import FakeCell, planned, write_run

NONE = FakeCell(attack="none", steps=1, first_success=[0] * 40, step_flops=0.0, queries=0)
GCG, RANDOM = FakeCell(attack="gcg", hardness=9.4), FakeCell(attack="random_token", hardness=10.2)


def of(victim: str, *cells: FakeCell) -> list[FakeCell]:
    """The cells with another victim."""
    return [replace(cell, victim=victim) for cell in cells]


def table_of(tmp_path: Path, cells: Sequence[FakeCell], plan: Sequence[FakeCell] | None = None) -> Standings:
    info = {} if plan is None else {"planned": planned(plan)}
    (table,) = standings([read_run(write_run(tmp_path / "run", cells, **info))], rank_unit="reference")
    return table


def row_of(table: Standings, victim: str, defense: str = "none") -> Standing:
    (row,) = (row for row in table.rows if (row.victim, row.defense) == (victim, defense))
    return row


def note(row: Standing) -> str:
    """Why it may not be held against the other rows; "" where it may, whether or not the data tell them apart."""
    return "" if row.rank.comparable else row.rank.note


def notes(table: Standings) -> dict[str, str]:
    return {row.victim: note(row) for row in table.rows}


def test_a_victim_that_met_no_attack_yet_is_not_first(tmp_path: Path) -> None:
    plan = [cell for name in ("a", "b", "c") for cell in of(name, NONE, GCG, RANDOM)]
    done = [cell for cell in plan if cell.victim != "c" or cell.attack == "none"]
    table = table_of(tmp_path, done, plan)
    assert notes(table)["c"] == "unfinished: gcg (seed 0) and random_token (seed 0) missing"
    assert {row.victim: row.rank.comparable for row in table.rows} == {"a": True, "b": True, "c": False}
    assert table.rows[-1].victim == "c"
    assert len(table.section.missing) == 2


def test_what_is_missing_stands_in_page_json_and_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = [cell for name in ("a", "b", "c", "d") for cell in of(name, NONE, GCG)]
    done = [cell for cell in plan if cell.victim in "ab" or (cell.victim == "c" and cell.attack == "none")]
    run = read_run(write_run(tmp_path / "run", done, planned=planned(plan)))
    index = build_site([run], tmp_path / "site")
    text = index.read_text()
    assert "fake 1.0 is unfinished: 3 cells of its spec have no numbers." in text
    assert "Unfinished: 3 cells of this table have no numbers." in text
    assert "Not in the table at all: d · none." in text
    assert "unfinished: gcg (seed 0) missing" in text
    data = payload([run], standings([run]))
    (section,) = data["sections"]
    assert data["runs"][0]["missing"] == section["missing"] == 3
    assert section["missing_rows"] == ["d · none"]
    row = next(row for row in section["rows"] if row["victim"] == "c")
    assert (row["rank"], row["missing"]) == (None, [{"attack": "gcg", "seed": 0, "round": None}])
    assert row["rank_note"] in (index.parent / "downloads" / "standings.csv").read_text()
    print_standings(standings([run]))
    told = capsys.readouterr().out
    assert "c · none: no rank: unfinished: gcg (seed 0) missing" in told
    assert "Unfinished: 3 cells of this table have no numbers." in told


def test_a_seed_or_a_round_that_is_missing_leaves_its_row_alone_without_a_rank(tmp_path: Path) -> None:
    rounds = [FakeCell(defense="at", round=number, seed=seed, victim="r") for number in (1, 2) for seed in (0, 1)]
    plan = [*of("a", GCG, replace(GCG, seed=1)), *of("b", GCG, replace(GCG, seed=1)), *rounds]
    table = table_of(tmp_path, [cell for cell in plan if cell not in (plan[3], rounds[3])], plan)
    by_row = {(row.victim, row.round): note(row) for row in table.rows}
    assert by_row == {
        ("a", None): "",
        ("b", None): "unfinished: gcg (seed 1) missing",
        ("r", 1): "",
        ("r", 2): "unfinished: gcg (seed 1) missing",
    }


def test_a_round_that_a_budget_did_not_allow_is_not_missing(tmp_path: Path) -> None:
    beyond = FakeCell(defense="at", round=3, victim="r", status="skipped")
    plan = [*of("a", GCG), *of("r", GCG), FakeCell(defense="at", round=2, victim="r"), beyond]
    table = table_of(tmp_path, plan, plan)
    assert not table.section.missing
    assert all(row.rank.comparable for row in table.rows)


def test_a_round_that_no_row_has_counts_for_the_rows_of_its_defense(tmp_path: Path) -> None:
    # A budget ended the training of seed 0 after round 2 of 4; seed 1 is not done.
    planned_last = [FakeCell(defense="at", round=4, victim="r", seed=seed) for seed in (0, 1)]
    early = replace(planned_last[0], round=2)
    plan = [*of("a", GCG), *of("b", GCG), early, planned_last[1]]
    table = table_of(tmp_path, plan[:3], plan)
    assert row_of(table, "r", "at").rank.note == "unfinished: gcg (seed 1) missing"


def test_a_failed_cell_is_missing_even_where_no_plan_is_listed(tmp_path: Path) -> None:
    cells = [*of("a", GCG, RANDOM), *of("b", GCG, RANDOM), *of("c", GCG, replace(RANDOM, status="failed"))]
    table = table_of(tmp_path, cells)
    assert notes(table) == {"a": "", "b": "", "c": "unfinished: random_token (seed 0) missing"}


def test_rows_that_met_different_attacks_have_no_rank_beside_each_other(tmp_path: Path) -> None:
    cells = [cell for name in ("a", "b") for cell in of(name, GCG, RANDOM)]
    cells += [*of("c", RANDOM), *of("d", RANDOM), *of("e", RANDOM), *of("f", GCG, RANDOM, replace(GCG, attack="x"))]
    table = table_of(tmp_path, cells, cells)
    other = "met other attacks than the ranked rows: "
    assert notes(table) == {
        "a": "",
        "b": "",
        "c": f"{other}not gcg",
        "d": f"{other}not gcg",
        "e": f"{other}not gcg",
        "f": f"{other}also x",
    }
    assert {row.victim for row in table.rows if row.rank.comparable} == {"a", "b"}


def test_no_row_is_ranked_where_no_two_met_the_same(tmp_path: Path) -> None:
    cells = [*of("a", GCG), *of("b", RANDOM), *of("c", GCG, RANDOM)]
    assert set(notes(table_of(tmp_path, cells)).values()) == {"the rows met different attacks"}


def test_two_kinds_of_rows_that_are_equally_many_are_not_chosen_between(tmp_path: Path) -> None:
    cells = [*of("a", GCG), *of("b", GCG), *of("c", RANDOM), *of("d", RANDOM)]
    assert set(notes(table_of(tmp_path, cells)).values()) == {"the rows met different attacks"}


def test_a_single_row_is_ranked_beside_nothing(tmp_path: Path) -> None:
    assert notes(table_of(tmp_path, [GCG])) == {GCG.victim: "no other row to rank it with"}


def test_the_prompt_without_an_attack_is_no_attack(tmp_path: Path) -> None:
    assert set(notes(table_of(tmp_path, [*of("a", NONE), *of("b", NONE)])).values()) == {"met no attack that searches"}


def test_strings_found_elsewhere_rank_nothing(tmp_path: Path) -> None:
    replay = replace(GCG, attack="transfer", source={"attack": "gcg", "victim": "x", "defense": "none"})
    table = table_of(tmp_path, [*of("a", replay), *of("b", replay), *of("c", replay, GCG), *of("d", GCG)])
    assert notes(table) == {
        "a": "met no attack that searches",
        "b": "met no attack that searches",
        "c": "",
        "d": "",
    }


@pytest.mark.parametrize(("floor", "ranked"), [(0.9, False), (0.8, True)])
def test_a_victim_that_never_learnt_its_task_has_no_rank(tmp_path: Path, floor: float, ranked: bool) -> None:
    more = {"clean_floor": floor}
    cells = [*of("a", replace(GCG, more=more)), *of("b", replace(GCG, more=more))]
    cells += of("weak", replace(GCG, examples=41, wrong=9, hardness=11.0, more=more))
    table = table_of(tmp_path, cells)
    weak = row_of(table, "weak")
    assert weak.clean is not None
    assert weak.clean.value == pytest.approx(0.82)
    if ranked:
        assert weak.rank.comparable
    else:
        assert weak.rank.note == "clean accuracy 82.0%, below the floor of 90.0%"
        assert table.rows[-1] is weak


def test_the_floor_holds_for_victims_that_answer_in_text(tmp_path: Path) -> None:
    cell = replace(GCG, task_kind="text", examples=10, wrong=30)
    table = table_of(tmp_path, [*of("a", cell), *of("b", replace(cell, wrong=0)), *of("c", replace(cell, wrong=0))])
    assert notes(table) == {"a": "refused when clean 25.0%, below the floor of 90.0%", "b": "", "c": ""}


def test_a_damaged_plan_is_named(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", [GCG], planned=[{"task": "x"}])
    with pytest.raises(DataError, match=r"run\.json: planned\.0\.threat: Field required"):
        read_run(path)


def test_ranks_between_victims_go_by_multiples_of_the_reference_compute_unless_flops_are_asked_for(
    tmp_path: Path,
) -> None:
    # Ten times the size: ten times the FLOPs of each step, and a thousand times the reference.
    small = FakeCell(victim="small", reference_flops=1e13, step_flops=1e9, hardness=9.4, examples=400)
    large = replace(small, victim="large", reference_flops=1e16, step_flops=1e10, hardness=10.4)
    run = read_run(
        write_run(tmp_path / "run", [replace(cell, seed=seed) for cell in (small, large) for seed in range(5)])
    )
    (by_reference,), (by_flops,) = standings([run]), standings([run], rank_unit="flops")
    assert [(row.victim, row.rank.best) for row in by_reference.rows] == [("small", 1), ("large", 2)]
    assert [(row.victim, row.rank.best) for row in by_flops.rows] == [("large", 1), ("small", 2)]
    first = by_reference.rows[0]
    assert first.cost_to_break is not None
    assert first.cost_to_break.compute is not None
    assert first.cost_of_reference == pytest.approx(first.cost_to_break.compute / 1e13)
    assert (by_reference.rank_unit, by_flops.rank_unit) == ("reference", "flops")


def test_ranks_are_within_victims_by_default_the_largest_first(tmp_path: Path) -> None:
    small = FakeCell(victim="small", n_params=10, hardness=8.8, examples=100, reference_flops=None)
    cells = [small, replace(small, defense="guard", hardness=10.6)]
    cells += [replace(cell, victim="large", n_params=20, hardness=cell.hardness - 1) for cell in cells]
    alone = FakeCell(victim="alone", n_params=5)
    run = [replace(cell, seed=seed) for cell in [*cells, alone] for seed in range(5)]
    (table,) = standings([read_run(write_run(tmp_path / "run", run))])
    assert [(row.victim, row.defense) for row in table.rows[:4]] == [
        (victim, defense) for victim in ("large", "small") for defense in ("guard", "none")
    ]
    assert [(row.rank.best, row.rank.worst, row.rank.among) for row in table.rows[:4]] == [(1, 1, 2), (2, 2, 2)] * 2
    assert note(table.rows[4]) == "no other row to rank it with"
    # Between victims of unknown reference compute there are none.
    assert not any(row.rank.comparable for row in across_victims(table).rows)


def test_an_unknown_reference_has_no_rank_among_several_victims_and_does_not_matter_to_one(tmp_path: Path) -> None:
    unknown = replace(GCG, reference_flops=None)
    table = table_of(tmp_path / "several", [*of("a", unknown), *of("b", GCG), *of("c", GCG)])
    assert notes(table)["a"] == "reference compute unknown: no multiple of it to compare across victims"
    assert notes(table)["b"] == ""
    one = table_of(tmp_path / "one", [unknown, replace(unknown, defense="filter", hardness=9.9)])
    assert [note(row) for row in one.rows] == ["", ""]
    assert one.rank_unit == "flops"
    (by_default,) = standings([read_run(tmp_path / "one" / "run")])
    assert by_default.rank_unit == "victim"
    assert [note(row) for row in by_default.rows] == ["", ""]


def test_an_unfinished_round_is_no_point_of_cost_to_break_against_cost_to_defend(tmp_path: Path) -> None:
    rounds = [FakeCell(defense="at", round=number, defense_flops=1e13 * number) for number in (1, 2)]
    attacks = [replace(cell, attack=attack) for cell in rounds for attack in ("gcg", "random_token")]
    run = read_run(write_run(tmp_path / "run", attacks[:-1], planned=planned(attacks)))
    rows = {row["round"]: row for row in payload([run], standings([run]))["sections"][0]["rows"]}
    assert _round_cost(rows[1]) is not None
    assert _round_cost(rows[2]) is None
    assert _round_cost({**rows[2], "missing": []}) is not None


def test_shards_complete_each_other(tmp_path: Path) -> None:
    cells = [*of("a", GCG), *of("b", GCG)]
    runs = [
        read_run(write_run(tmp_path / cell.victim, [cell], planned=planned(cells), shard=[at, 2]))
        for at, cell in enumerate(cells, start=1)
    ]
    alone, together = payload(runs[:1], standings(runs[:1])), payload(runs, standings(runs))
    assert [run["missing"] for run in alone["runs"]] == [1]
    assert [run["missing"] for run in together["runs"]] == [0, 0]
    (section,) = together["sections"]
    assert section["missing"] == 0
    assert all(row["comparable"] for row in section["rows"])
