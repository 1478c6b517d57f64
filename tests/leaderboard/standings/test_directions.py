"""ASR by direction: what is of one label, what of the other, and a warning where their mean says little of either."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st
from scipy.stats import fisher_exact

from harness.records.read import read_run
from leaderboard.commands.print_standings import print_standings
from leaderboard.fit.pooled_rates import Rate
from leaderboard.site.build import build_site
from leaderboard.site.site_data import payload
from leaderboard.standings.directions import DirectionRate, _chance, one_direction_makes_the_rate
from leaderboard.standings.standing import Standing
from leaderboard.standings.standings import standings
from tests.leaderboard.fake_run import FakeCell, write_run

NAMES = ("DENIED", "GRANTED")
# Examples of even number have label 0: all fall; of the others one in five.
ONE_SIDED = tuple(3 if at % 2 == 0 or at % 10 == 1 else 0 for at in range(40))


def row_of(tmp_path: Path, *cells: FakeCell) -> Standing:
    (table,) = standings([read_run(write_run(tmp_path / "run", cells))])
    (row,) = table.rows
    return row


def told(row: Standing) -> dict[str, tuple[int, int]]:
    return {rate.name: (rate.asr.successes, rate.asr.trials) for rate in row.directions}


def test_directions_of_two_labels_seeds_pooled(tmp_path: Path) -> None:
    cell = FakeCell(first_success=ONE_SIDED, labels=NAMES, targets=True)
    row = row_of(tmp_path, cell, replace(cell, seed=1))
    assert told(row) == {"DENIED → GRANTED": (40, 40), "GRANTED → DENIED": (8, 40)}
    assert row.asr is not None
    assert row.asr.value == pytest.approx(0.6)


def test_older_records_say_which_of_two_labels_an_example_has(tmp_path: Path) -> None:
    assert told(row_of(tmp_path, FakeCell(first_success=ONE_SIDED))) == {
        "label 0 → 1": (20, 20),
        "label 1 → 0": (4, 20),
    }


def test_several_labels(tmp_path: Path) -> None:
    cell = FakeCell(first_success=[1, 0, 0] * 4, examples=12, labels=("a", "b", "c"), targets=True)
    assert told(row_of(tmp_path, cell)) == {"a → b": (4, 4), "b → c": (0, 4), "c → a": (0, 4)}


def test_what_the_attacker_wants_may_be_unknown(tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "run", [FakeCell(first_success=[1, 0, 0] * 4, examples=12, labels=("a", "b", "c"), targets=True)]
    )
    (path,) = run.glob("cells/*/examples.parquet")
    pq.write_table(pq.read_table(path).drop_columns(["target"]), path)  # as older records are
    (table,) = standings([read_run(run)])
    assert told(table.rows[0]) == {"a": (4, 4), "b": (0, 4), "c": (0, 4)}


def test_answers_in_text_have_no_direction(tmp_path: Path) -> None:
    row = row_of(tmp_path, FakeCell(task_kind="text"), FakeCell(task_kind="text", attack="other"))
    assert row.directions == ()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), min_size=12, max_size=12), min_size=1, max_size=3))
def test_directions_add_up_to_the_rate(tmp_path_factory: pytest.TempPathFactory, fallen: list[list[int]]) -> None:
    cells = [
        FakeCell(attack=f"a{at}", examples=12, steps=3, first_success=first, targets=True)
        for at, first in enumerate(fallen)
    ]
    row = row_of(tmp_path_factory.mktemp("sum"), *cells)
    assert row.asr is not None
    assert sum(rate.asr.successes for rate in row.directions) == row.asr.successes
    assert sum(rate.asr.trials for rate in row.directions) == row.asr.trials


def rate(successes: int, trials: int, label: int = 0) -> DirectionRate:
    return DirectionRate(f"d{label}", label, None, Rate(successes, trials, 0.0, 1.0, seeds=1))


@pytest.mark.parametrize(
    ("first", "second", "warned"),
    [
        ((20, 20), (4, 20), True),
        ((30, 32), (14, 32), True),
        ((12, 20), (8, 20), False),  # 20 points
        ((3, 4), (1, 4), False),  # 50 points, and no more than chance
        ((400, 1000), (200, 1000), False),  # plain, and too little to matter
        ((0, 20), (0, 20), False),
    ],
)
def test_a_warning_takes_a_difference_that_matters_and_is_not_chance(
    first: tuple[int, int], second: tuple[int, int], warned: bool
) -> None:
    found = one_direction_makes_the_rate([rate(*first), rate(*second, label=1)])
    assert (found is not None) == warned
    if found is not None:
        assert [each.label for each in found] == [0, 1]
    assert one_direction_makes_the_rate([rate(*first)]) is None


@given(st.tuples(*[st.integers(0, 60)] * 4).filter(lambda table: table[0] + table[1] and table[2] + table[3]))
def test_the_chance_of_a_difference_is_that_of_fishers_exact_test(table: tuple[int, int, int, int]) -> None:
    one, other = (rate(broken, broken + held).asr for broken, held in (table[:2], table[2:]))
    assert _chance(one, other) == pytest.approx(fisher_exact([table[:2], table[2:]]).pvalue, rel=1e-9)


def test_of_several_directions_the_pair_furthest_apart_is_told() -> None:
    found = one_direction_makes_the_rate([rate(20, 40), rate(0, 40, 1), rate(39, 40, 2), rate(1, 1, 3)])
    assert found is not None
    assert [each.label for each in found] == [2, 1]


def test_page_json_downloads_and_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cell = FakeCell(first_success=ONE_SIDED, labels=NAMES, targets=True)
    even = replace(cell, victim="even", first_success=[3, 3, 0, 0] * 10)
    run = read_run(write_run(tmp_path / "run", [cell, even]))
    tables = standings([run])
    index = build_site([run], tmp_path / "site")
    text = index.read_text()
    assert "One direction accounts for the rate in 1 of 2 rows" in text
    assert "DENIED → GRANTED 100.0%\nGRANTED → DENIED 20.0%\none direction accounts for the rate" in text
    assert text.count("one direction accounts for the rate<") == 1
    rows = {row["victim"]: row for row in payload([run], tables)["sections"][0]["rows"]}
    assert [rows["even"]["one_direction"], rows[cell.victim]["one_direction"]] == [False, True]
    (first, second) = rows[cell.victim]["directions"]
    assert (first["name"], first["label"], first["target"], first["successes"]) == ("DENIED → GRANTED", 0, 1, 20)
    assert second["value"] == 0.2
    downloads = (index.parent / "downloads" / "standings.csv").read_text()
    assert "DENIED → GRANTED: 20 of 20; GRANTED → DENIED: 4 of 20" in downloads
    page = next((index.parent / "entries").glob("tiny*")).read_text()
    assert "ASR by direction" in page
    print_standings(tables)
    assert "One direction accounts for the rate in 1 of 2 rows" in capsys.readouterr().out
