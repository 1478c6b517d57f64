"""Utility next to robustness, ASR without the judge's errors and ranks by judge on the page, in a real browser."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.records.read import read_run
from leaderboard.site.build import build_site
from leaderboard.table_numbers import percent
from tests.leaderboard.fake_run import write_run
from tests.leaderboard.fit.test_corrected_asr import CALIBRATION
from tests.leaderboard.site.conftest import watched
from tests.leaderboard.standings.test_between_judges import STRICT, judged
from tests.leaderboard.standings.test_utility import BOUND, cells

pytestmark = pytest.mark.slow
PARETO = "#task=word_length&kind=pareto&utility=mmlu"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("utility")
    large = [
        replace(c, victim="tiny(size=large)", hardness=c.hardness + 0.3) for c in cells(["none", "cheap"], **BOUND)
    ]
    build_site([read_run(write_run(folder / "run", cells(**BOUND) + large))], folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def section(site: Path) -> dict[str, Any]:
    sections: list[dict[str, Any]] = json.loads((site / "data.json").read_text())["sections"]
    return next(each for each in sections if each["task"] == "word_length")


@pytest.fixture
def page(browser: Any, site: Path) -> Iterator[Any]:
    with watched(browser, site, f"index.html{PARETO}") as page:
        page.locator("section.scope:visible").get_by_role("button", name="Tick all", exact=True).click()
        yield page


def drawn(page: Any) -> list[dict[str, str]]:
    """The numbers of the plot as its table has them."""
    figure = page.locator("section.scope:visible figure.plot")
    details = figure.locator("details.numbers")
    if details.get_attribute("open") is None:
        details.locator("summary").press("Enter")
    figure.locator("details.numbers table").wait_for()  # it is made after the press
    cells = "all => all.map((row) => [...row.cells].map((cell) => cell.innerText))"
    heads, *lines = figure.locator("details.numbers tr").evaluate_all(cells)
    return [dict(zip(heads, line, strict=True)) for line in lines]


def test_the_plot_draws_what_the_data_say(page: Any, section: dict[str, Any]) -> None:
    assert page.locator("section.scope:visible .plot-title").inner_text() == "Utility against robustness"
    lines = {line["Row"]: line for line in drawn(page)}
    assert len(lines) == len(section["rows"]) == 6
    for row in section["rows"]:
        (exam,) = [utility for utility in row["utilities"] if utility["task"] == "mmlu"]
        line = lines[row["series"]]
        for name, share in (("Utility", exam["rate"]), ("Held", row["held"])):
            found = [line[column] for column in (name, f"{name}, low", f"{name}, high")]
            assert found == [percent(share["value"]), percent(share["low"]), percent(share["high"])]
        assert {"front": "on the front"}.get(exam["front_of_victim"], "beaten within intervals") == line["Front"]
    dear = next(line for name, line in lines.items() if "dear" in name)
    assert dear["Loss"] == "30.0 points"
    assert dear["Loss, low"].startswith("2")
    assert "more than the limit of 2 points" in dear["Note"]
    marks = page.locator("section.scope:visible .canvas .mark-symbol.role-mark path")
    assert marks.count() == 6
    legend = page.locator("section.scope:visible .canvas .role-legend-label text").all_text_contents()
    assert {"on the front", "beaten within intervals"} <= set(legend)


def test_a_hover_tells_both_shares_and_the_loss(page: Any, section: dict[str, Any]) -> None:
    page.locator("section.scope:visible .canvas .mark-symbol.role-mark path").first.hover(force=True)
    tip = page.locator("#vg-tooltip-element.visible")
    tip.wait_for()
    told = {r.locator(".key").inner_text(): r.locator(".value").inner_text() for r in tip.locator("tr").all()}
    row = next(each for each in section["rows"] if each["series"] == told["row"])
    assert told["held"] == percent(row["held"]["value"])
    assert told["utility"] == percent(row["utilities"][1]["rate"]["value"])


def test_switches_work_by_keyboard_and_the_address_keeps_them(page: Any, section: dict[str, Any]) -> None:
    view = page.locator("section.scope:visible")
    view.locator("[data-plot=front]").focus()
    page.keyboard.press("ArrowDown")
    page.wait_for_function("location.hash.includes('front=table')")
    places = {row["series"]: row["utilities"][1]["front_of_table"] for row in section["rows"]}
    assert {line["Row"]: line["Front"] == "on the front" for line in drawn(page)} == {
        name: place == "front" for name, place in places.items()
    }
    view.locator("[data-plot=utility]").focus()
    page.keyboard.press("ArrowUp")
    page.wait_for_function("!location.hash.includes('utility=mmlu')")
    assert {line["Utility"] for line in drawn(page)} == {"100.0%"}, "its own clean accuracy"
    for hidden in ("attack", "x", "y"):
        assert not view.locator(f"[data-plot={hidden}]").is_visible()


def test_rows_that_are_not_ticked_are_not_drawn(page: Any) -> None:
    view = page.locator("section.scope:visible")
    view.locator("tbody input[type=checkbox]").first.press("Space")
    page.wait_for_function(
        "document.querySelectorAll('section:not([hidden]) .mark-symbol.role-mark path').length === 5"
    )
    assert len(drawn(page)) == 5


def test_the_numbers_are_saved(page: Any) -> None:
    with page.expect_download() as saved:
        page.locator("section.scope:visible [data-save=csv]").click()
    rows = list(csv.DictReader(io.StringIO(saved.value.path().read_text())))
    assert {row["state"] for row in rows} == {"on the front", "beaten within intervals"}
    assert saved.value.suggested_filename.startswith("pareto-")


@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_every_look_fits_and_says_the_bound(browser: Any, site: Path, look: str) -> None:
    with watched(browser, site, f"index.html{PARETO}", look) as page:
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        view = page.locator("section.scope:visible")
        assert view.locator("td[data-label='Loss of utility'] .main").first.is_visible()
        assert view.get_by_text("certainly loses more than 2 points").is_visible()
        view.locator("thead th", has_text="Loss of utility").get_by_role("button").first.click()
        assert view.locator("tbody tr").first.inner_text().count("30 points") >= 1
        assert view.locator("td[data-label='Rank']", has_text="loses 30 points").count() == 1


def test_side_by_side_tells_the_loss(browser: Any, site: Path, section: dict[str, Any]) -> None:
    ids = ",".join(row["id"] for row in section["rows"][-2:])
    with watched(browser, site, f"compare.html#rows={ids}") as page:
        line = page.locator(".compare tbody tr", has_text="Loss of utility")
        assert "30 points" in line.inner_text()
        assert "mmlu 60.0%: 30 points (2" in line.inner_text()


@pytest.mark.parametrize("look", ["light", "phone"])
def test_ranks_by_judge_and_asr_without_the_judges_errors(browser: Any, tmp_path: Path, look: str) -> None:
    named = CALIBRATION | {"judge": CALIBRATION["judge"] | {"name": "a_judge", "label": "a_judge"}}
    first = judged("a_judge", STRICT, judge_calibration=named)
    second = judged("b_judge", {"none": 9.9, "guard": 9.5, "vote": 9.1})
    alone = [replace(cell, task="alone", data_hash="f" * 64) for cell in judged("a_judge", {"none": 9.1})]
    runs = [write_run(tmp_path / n, c, spec_hash=n[0] * 64) for n, c in (("a", first + alone), ("b", second))]
    build_site([read_run(run) for run in runs], tmp_path / "site")
    data = json.loads((tmp_path / "site" / "data.json").read_text())
    with watched(browser, tmp_path / "site", "index.html#task=word_length", look) as page:
        judges = page.locator("section.judges:visible")
        assert judges.count() == 1
        assert judges.locator("thead th").all_inner_texts() == ["Victim and defense", "a_judge", "b_judge"]
        shown = [row.locator("td .main").all_inner_texts() for row in judges.locator("tbody tr").all()]
        assert shown == [[str(one["rank"]) for one in row["by_judge"]] for row in data["judges"][0]["rows"]]
        assert judges.get_by_text(
            "tau-b −1.00; of 3 pairs of rows 3 in another order, 3 of them certainly"
        ).is_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        sections = page.locator("section.scope:visible")
        assert sections.count() == 2
        headings = [
            each.locator("thead").inner_text().count("ASR without the judge’s errors") for each in sections.all()
        ]
        assert sorted(headings) == [0, 1], "of the judge alone whose records name a calibration"
        page.select_option("#task", "alone")
        assert page.locator("section.judges:visible").count() == 0
