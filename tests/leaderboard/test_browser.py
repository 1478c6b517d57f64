"""The site in a real browser, from disk: it works, says what the data says, and asks nobody for anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.records.read import read_run
from leaderboard.site import build_site
from tests.leaderboard.fake_run import FakeCell, write_run
from tests.leaderboard.fake_study import study

MARKUP = "<script>alert(1)</script><img src=x onerror=alert(2)>"

pytestmark = pytest.mark.slow


@dataclass
class Seen:
    """What the page did that it should not."""

    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    cells = study()
    like = next(cell for cell in cells if cell.task == "password_match")
    cells.append(FakeCell(task=like.task, data_hash=like.data_hash, victim=MARKUP, defense=MARKUP, attack="gcg"))
    cells.append(FakeCell(task=like.task, data_hash=like.data_hash, victim=MARKUP, seed=1, status="failed"))
    build_site([read_run(write_run(folder / "run", cells, spec_name=MARKUP))], folder / "site")
    return folder / "site"


@pytest.fixture(params=["light", "dark", "phone"])
def page(request: pytest.FixtureRequest, browser: Any, site: Path) -> Iterator[Any]:
    """The page, drawn. At the end: no message in the console, no request but to files of the site, no dialog."""
    size = {"width": 390, "height": 844} if request.param == "phone" else {"width": 1280, "height": 900}
    scheme = "dark" if request.param == "dark" else "light"
    page, seen = browser.new_page(viewport=size, color_scheme=scheme), Seen()
    page.on("console", lambda message: seen.messages.append(message.text))
    page.on("pageerror", lambda error: seen.messages.append(str(error)))
    page.on("request", lambda r: seen.requests.append(r.url))
    page.on("dialog", lambda dialog: (seen.dialogs.append(dialog.message), dialog.dismiss()))
    page.goto((site / "index.html").as_uri())
    page.wait_for_selector("section:not([hidden]) .canvas svg")
    yield page
    page.wait_for_timeout(100)
    page.close()
    assert seen.messages == []
    assert seen.dialogs == []
    inside = (site.as_uri() + "/", "data:")
    assert [url for url in seen.requests if not url.startswith(inside)] == []


def shown(page: Any, selector: str) -> list[str]:
    found: list[str] = page.eval_on_selector_all(
        f"section:not([hidden]) table.standings {selector}", "all => all.map((e) => e.textContent.trim())"
    )
    return found


def head(page: Any, name: str) -> Any:
    return page.locator("section:not([hidden]) table.standings thead th", has_text=name)


def test_sorting(page: Any) -> None:
    sizes = 'td[data-label="Size"]'
    before = shown(page, sizes)
    head(page, "Size").get_by_role("button").click()
    descending = shown(page, sizes)
    assert head(page, "Size").get_attribute("aria-sort") == "descending"
    assert descending == sorted(before, key=lambda text: {"12k": 3, "100k": 2, "110k": 1, "900k": 0}[text])
    assert descending != before
    head(page, "Size").get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert shown(page, sizes) == descending[::-1]
    assert head(page, "Size").get_attribute("aria-sort") == "ascending"
    assert page.locator("section:not([hidden]) [aria-sort]").count() == 1


def test_filter_narrows_table_and_plot(page: Any) -> None:
    page.fill("#filter", "size=xs round 4")
    page.wait_for_function("document.getElementById('count').textContent === '1 of 10 rows'")
    assert shown(page, "tbody tr:not([hidden]) th") == ["tiny(size=xs)"]
    legend = "section:not([hidden]) .canvas .role-legend-label text"
    page.wait_for_function(f"document.querySelectorAll('{legend}').length === 1")
    page.fill("#filter", "no such thing")
    page.wait_for_selector("section:not([hidden]) .empty:not([hidden])")


def test_a_hover_shows_the_number_that_is_in_the_json(page: Any, site: Path) -> None:
    section = json.loads((site / "data.json").read_text())["sections"][0]
    points = page.locator("section:not([hidden]) .canvas .mark-symbol.role-mark path")
    for at in (0, 25, points.count() - 1):
        points.nth(at).hover(force=True)
        tip = page.locator("#vg-tooltip-element.visible")
        tip.wait_for()
        rows = tip.locator("tr").all()
        told = {r.locator(".key").inner_text(): r.locator(".value").inner_text() for r in rows}
        row = next(row for row in section["rows"] if row["series"] == told["row"])
        curve = next(curve for curve in row["curves"] if curve["attack"] == told["attack"])
        point = next(point for point in curve["points"] if point["step"] == int(told["step"]))
        assert float(told["ASR"]) == point["value"]
        assert float(told["FLOPs"]) == point["compute"]
        assert told["broken"] == f"{point['successes']} of {point['trials']}"
        assert told["95% interval"] == f"{point['low']} – {point['high']}"
        page.mouse.move(1, 1)


def test_choosing_a_task_shows_its_table_and_plot(page: Any) -> None:
    page.select_option("#task", "word_length")
    page.wait_for_selector("section[data-task=word_length]:not([hidden]) .canvas svg")
    assert page.locator("section:not([hidden])").count() == 1
    assert len(shown(page, "tbody tr")) == 9


def test_switches_redraw_the_plot(page: Any) -> None:
    plot = page.locator("section:not([hidden]) .plot")
    lines = plot.locator(".mark-line.role-mark path")
    few = lines.count()
    plot.locator('[data-plot="attack"]').select_option("all")
    page.wait_for_function(
        f"document.querySelectorAll('section:not([hidden]) .mark-line.role-mark path').length > {few}"
    )
    plot.locator('[data-plot="y"]').select_option("linear")
    plot.locator('[data-plot="x"]').select_option("share")
    plot.locator('[data-plot="fit"]').check()
    plot.get_by_text("share of reference compute").first.wait_for()


def test_unticking_rows_empties_the_plot(page: Any) -> None:
    boxes = page.locator("section:not([hidden]) table.standings input[type=checkbox]")
    for at in range(boxes.count()):
        boxes.nth(at).uncheck()
    page.get_by_text("No row is ticked.").wait_for()


def test_the_page_never_scrolls_sideways_and_markup_stays_text(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert MARKUP in shown(page, "tbody th")
    assert page.locator("script:not([src]):not([type='application/json'])").count() == 0
    assert page.locator("img").count() == 0


@pytest.mark.parametrize("also_known", [False, True])
def test_unknown_compute_is_drawn_over_queries_and_sorted_last(browser: Any, tmp_path: Path, also_known: bool) -> None:
    served = FakeCell(victim="served", n_params=None, step_flops=None, reference_flops=None)
    run = write_run(tmp_path / "run", [served, *[FakeCell()] * also_known])
    page, messages = browser.new_page(), []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.goto(build_site([read_run(run)], tmp_path / "site").as_uri())
    page.wait_for_selector(".canvas svg")
    axis = page.locator("[data-plot=x]")
    assert axis.input_value() == ("flops" if also_known else "queries")
    if also_known:
        page.get_by_text("20 points of unknown compute are left out").wait_for()
        for _ in range(2):
            head(page, "Compute to ASR").get_by_role("button").click()
            assert shown(page, "tbody th")[-1] == "served"
        axis.select_option("queries")
    page.locator(".canvas").get_by_text("queries per example").first.wait_for()
    page.wait_for_function(f"document.querySelectorAll('.role-legend-label text').length === {1 + also_known}")
    if not also_known:
        axis.select_option("flops")
        page.get_by_text("Compute unknown: nothing to draw").wait_for()
    assert "NaN" not in page.content()
    assert messages == []
    page.close()
