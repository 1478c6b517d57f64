"""Published tables as a page: least squares gives what was reported, and the page says so."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.errors import DataError
from leaderboard.site.build import build_published_tables_page
from leaderboard.site.published_tables import published_table, read_reported_fits
from tests.leaderboard.published_tables import study_file
from tests.leaderboard.site.conftest import watched

NAMES = [
    "attack_scaling_pythia_gcg_imdb.csv",
    "attack_scaling_pythia_gcg_spam.csv",
    "offense_defense_qwen_gcg_harmless.csv",
]
HEAD = "task,family,attack,n_params,seed,iteration,trials,successes,attack_compute\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    lines = [
        f"spam,pythia,gcg,{size},{seed},{i},100,{10 * i + seed},{i}e-6"
        for size in (7, 8)
        for seed in (0, 1)
        for i in range(9)
    ]
    path.write_text(HEAD + "\n".join(lines) + "\n")
    return path


def test_a_table_of_ones_own(table: Path, tmp_path: Path) -> None:
    expected = tmp_path / "expected.json"
    expected.write_text(json.dumps({table.name: [{"n_params": 7, "slope": 1.25, "intercept": 2.0}]}))
    index = build_published_tables_page([table], tmp_path / "site", expected)
    page = index.read_text()
    assert page.count("1.2500") == 1
    found = published_table(table, read_reported_fits(expected), 0.02)
    assert [line.reported is None for line in found.comparisons] == [False, True]
    (curve,) = found.section["rows"][0]["curves"]
    assert curve["points"]["successes"][-1] == 161  # of both seeds together
    assert curve["points"]["trials"] == 200


def test_whole_numbers_are_numbers_and_tables_go_with_their_fits(table: Path, tmp_path: Path) -> None:
    expected = tmp_path / "expected.json"
    expected.write_text(json.dumps({table.name: [{"n_params": 7, "slope": 1}, {"n_params": 8, "slope": 2.5}]}))
    page = build_published_tables_page([table], tmp_path / "site", expected).read_text()
    assert page.count("1.0000") == 1
    assert "nan" not in page.lower().replace("nanog", "")
    expected.write_text(json.dumps({"tabel.csv": [{"n_params": 7, "slope": 1}]}))
    unnamed = r"expected\.json: says nothing about table\.csv \(did you mean 'tabel\.csv'\?\)"
    with pytest.raises(DataError, match=unnamed):
        build_published_tables_page([table], tmp_path / "other", expected)
    expected.write_text(json.dumps({table.name: [{"n_params": 9, "slope": 1}]}))
    with pytest.raises(
        DataError, match=r"table\.csv: a fit was reported for n_params 9, and the table has no such row"
    ):
        build_published_tables_page([table], tmp_path / "other", expected)


@pytest.mark.parametrize(
    ("fit", "words"),
    [
        ('{"n_params": 7, "slope": NaN}', "fit 1, 'slope': Input should be a finite number"),
        ('{"n_params": 7, "slope": Infinity}', "fit 1, 'slope': Input should be a finite number"),
        ('{"n_params": 7, "slope": 1.0, "intercept": NaN}', "fit 1, 'intercept': Input should be a finite number"),
        ('{"n_params": 7, "slope": 1.0, "intercept": "x"}', "fit 1, 'intercept': Input should be a valid number"),
        ('{"n_params": 7, "slope": "1.0"}', "fit 1, 'slope': Input should be a valid number"),
        ('{"n_params": 7, "slope": true}', "fit 1, 'slope': Input should be a valid number"),
        ('{"n_params": "7", "slope": 1.0}', "fit 1, 'n_params': Input should be a valid integer"),
        ('{"slope": 1.0}', "fit 1, 'n_params': Field required"),
        ('{"n_params": 7, "slope": 1}, {"n_params": 7, "slope": 2}', "n_params 7 appears twice"),
        ("5", "fit 1: Input should be a valid dictionary or instance of ReportedFit"),
    ],
)
def test_a_reported_number_that_is_none_is_named(fit: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "expected.json"
    path.write_text(f'{{"table.csv": [{fit}]}}')
    with pytest.raises(DataError) as error:
        read_reported_fits(path)
    assert str(error.value).startswith(f"{path}, 'table.csv'")
    assert words in str(error.value)


@pytest.mark.parametrize("content", ["[]", "{", '{"table.csv": [{"slope": "steep"}]}', '{"table.csv": 3}'])
def test_what_is_expected_must_be_of_its_form(content: str, tmp_path: Path) -> None:
    path = tmp_path / "expected.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"expected\.json"):
        read_reported_fits(path)


def test_the_study_stands_beside_our_slopes(tmp_path: Path) -> None:
    tables = [str(study_file(name)) for name in NAMES]
    call = [
        "leaderboard",
        "study",
        *tables,
        "--expected",
        str(study_file("expected.json")),
        "--out",
        str(tmp_path / "site"),
    ]
    assert main(call) == 0
    page = (tmp_path / "site" / "index.html").read_text()
    assert (
        re.findall(r"reported slopes\s+differ by less than 0\.000001", page)
        == ["reported slopes differ by less than 0.000001"] * 3
    )
    data = json.loads((tmp_path / "site" / "data.json").read_text())
    assert [len(data["fits"][name]) for name in NAMES] == [10, 10, 4]
    assert all(line["reported"] for lines in data["fits"].values() for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("look", ["light", "phone"])
def test_in_a_browser(browser: Any, table: Path, tmp_path: Path, look: str) -> None:
    build_published_tables_page([table], tmp_path / "site")
    with watched(browser, tmp_path / "site", look=look) as page:
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert page.locator(".role-legend-label text").count() == 2
        page.get_by_text("share of reference compute").first.wait_for()
        page.locator("[data-plot=fit]").check()
