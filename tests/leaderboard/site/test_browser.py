"""The standings page in a real browser, from disk: it works, says what the data says, and asks nobody for anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.records.read import read_run
from leaderboard.site.build import build_site
from leaderboard.table_numbers import amount, multiple, percent, scientific
from tests.leaderboard.fake_quickstart import quickstart_cells
from tests.leaderboard.fake_run import FakeCell, write_run
from tests.leaderboard.site.conftest import watched

MARKUP = "<script>alert(1)</script><img src=x onerror=alert(2)>"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    cells = quickstart_cells()
    like = next(cell for cell in cells if cell.task == "password_match")
    cells.append(FakeCell(task=like.task, data_hash=like.data_hash, victim=MARKUP, defense=MARKUP, attack="gcg"))
    cells.append(FakeCell(task=like.task, data_hash=like.data_hash, victim=MARKUP, seed=1, status="failed"))
    build_site([read_run(write_run(folder / "run", cells, spec_name=MARKUP))], folder / "site")
    return folder / "site"


@pytest.fixture
def page(browser: Any, site: Path) -> Iterator[Any]:
    with watched(browser, site) as page:
        yield page


def shown(page: Any, selector: str) -> list[str]:
    found: list[str] = page.eval_on_selector_all(
        f"section:not([hidden]) table.standings {selector}", "all => all.map((e) => e.textContent.trim())"
    )
    return found


def head(page: Any, name: str) -> Any:
    return page.locator("section:not([hidden]) table.standings thead th", has_text=name)


def test_sorting_by_mouse_and_keyboard(page: Any) -> None:
    assert head(page, "Rank").get_attribute("aria-sort") == "ascending"
    costs = page.eval_on_selector_all(
        "section:not([hidden]) table.standings tbody tr",
        "all => all.map((e) => [e.dataset.victim, +e.querySelector('[data-label^=\"Compute to\"]').dataset.sort])",
    )
    # As the page came: the largest victim first, and of each its rows, the hardest to break first.
    assert list(dict(costs)) == ["tiny(size=m)", "tiny(size=s)", "tiny(size=xs)", MARKUP]
    for victim in dict(costs):
        of_victim = [cost for name, cost in costs if name == victim]
        assert of_victim == sorted(of_victim, reverse=True)
    assert "no other row to rank it with" in shown(page, 'td[data-label="Rank"] .fine')
    head(page, "Rank").get_by_role("button").first.click()
    assert shown(page, "tbody tr th")[-1] == MARKUP  # it is not ranked: last, whichever way the others are sorted
    sizes = 'td[data-label="Size"]'
    before = shown(page, sizes)
    head(page, "Size").get_by_role("button").first.click()
    descending = shown(page, sizes)
    assert head(page, "Size").get_attribute("aria-sort") == "descending"
    assert descending == sorted(before, key=lambda text: {"12k": 3, "100k": 2, "110k": 1, "900k": 0}[text])
    assert descending != before
    head(page, "Size").get_by_role("button").first.focus()
    page.keyboard.press("Enter")
    assert head(page, "Size").get_attribute("aria-sort") == "ascending"
    assert [text for text in shown(page, sizes) if text != "100k"] == [t for t in descending[::-1] if t != "100k"]
    assert page.locator("section:not([hidden]) [aria-sort]").count() == 1


def test_search_and_filters_narrow_table_and_plot(page: Any) -> None:
    page.fill("#filter", "size=xs round 4")
    page.wait_for_function("document.getElementById('count').textContent === '1 of 10 rows'")
    assert shown(page, "tbody tr:not([hidden]) th") == ["tiny(size=xs)"]
    legend = "section:not([hidden]) .canvas .role-legend-label text"
    page.wait_for_function(f"document.querySelectorAll('{legend}').length === 1")
    page.fill("#filter", "no such thing")
    page.wait_for_selector("section:not([hidden]) .empty:not([hidden])")
    page.fill("#filter", "")
    page.select_option("#victim", "tiny(size=m)")
    page.select_option("#defense", "none")
    page.wait_for_function("document.getElementById('count').textContent === '1 of 10 rows'")
    assert shown(page, "tbody tr:not([hidden]) th") == ["tiny(size=m)"]
    page.wait_for_function("location.hash.includes('defense=none')")


def test_the_address_holds_the_view_and_gives_it_back(page: Any, browser: Any, site: Path) -> None:
    page.select_option("#task", "word_length")
    page.fill("#filter", "adversarial")
    head(page, "Defense compute").get_by_role("button").first.click()
    first = page.locator("section:not([hidden]) tbody tr:not([hidden]) input[type=checkbox]").first
    first.uncheck()
    plot = page.locator("section:not([hidden]) figure.plot")
    plot.locator("[data-plot=y]").select_option("linear")
    plot.locator("[data-plot=kind]").select_option("rounds")
    page.wait_for_function("location.hash.includes('kind=rounds') && location.hash.includes('q=adversarial')")
    shared = page.evaluate("location.hash")
    want = shown(page, "tbody tr:not([hidden])")
    ticks = page.eval_on_selector_all("section:not([hidden]) tbody input", "all => all.map((e) => e.checked)")
    with watched(browser, site, f"index.html{shared}") as again:
        assert again.locator("#task").input_value() == "word_length"
        assert again.locator("#filter").input_value() == "adversarial"
        assert shown(again, "tbody tr:not([hidden])") == want
        found = again.eval_on_selector_all("section:not([hidden]) tbody input", "all => all.map((e) => e.checked)")
        assert found == ticks
        assert head(again, "Defense compute").get_attribute("aria-sort") == "descending"
        assert again.locator("section:not([hidden]) [data-plot=kind]").input_value() == "rounds"
        assert again.locator("section:not([hidden]) [data-plot=y]").input_value() == "linear"
        again.evaluate("location.hash = ''")
        again.wait_for_function("document.getElementById('filter').value === ''")
        assert again.locator("#task").input_value() == "password_match"


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
        columns = next(curve for curve in row["curves"] if curve["attack"] == told["attack"])["points"]
        place = columns["step"].index(int(told["step"]))
        assert told["ASR"] == percent(columns["value"][place])
        assert told["FLOPs"] == scientific(columns["compute"][place])
        assert told["of reference"] == multiple(columns["compute"][place] / row["reference_compute"])
        assert told["queries"] == amount(columns["queries"][place])
        assert told["broken"] == f"{columns['successes'][place]} of {columns['trials']}"
        assert told["95% interval"] == f"{100 * columns['low'][place]:.1f} – {percent(columns['high'][place])}"
        page.mouse.move(1, 1)


def test_choosing_a_task_shows_its_table_and_plot(page: Any) -> None:
    page.select_option("#task", "word_length")
    page.wait_for_selector("section[data-task=word_length]:not([hidden]) .canvas svg")
    assert page.locator("section.scope:not([hidden])").count() == 1
    assert len(shown(page, "tbody tr")) == 9


def test_switches_redraw_the_plot(page: Any) -> None:
    plot = page.locator("section:not([hidden]) figure.plot")
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
    plot.locator('[data-plot="kind"]').select_option("offense")
    plot.get_by_text("slope 1: stalemate").wait_for()
    plot.locator('[data-plot="kind"]').select_option("rounds")
    plot.get_by_text("round of the defense (0: undefended)").wait_for()


def test_four_rows_are_ticked_until_somebody_ticks(page: Any) -> None:
    ticked = "section:not([hidden]) tbody tr:has(input:checked)"
    rows = "all => all.map((row) => row.dataset.victim)"
    go = page.locator("section:not([hidden]) [data-compare]")
    assert len(page.eval_on_selector_all(ticked, rows)) == 4
    assert go.is_enabled()
    page.select_option("#victim", "tiny(size=xs)")
    assert page.eval_on_selector_all(ticked, rows) == ["tiny(size=xs)"] * 2  # of the rounds the last
    assert "rows=" not in page.evaluate("location.hash")
    page.locator("section:not([hidden]) tbody tr:not([hidden]) input:not(:checked)").check()
    page.select_option("#victim", "")
    assert page.eval_on_selector_all(ticked, rows) == ["tiny(size=xs)"] * 3


def test_the_way_back_keeps_the_view(page: Any) -> None:
    page.select_option("#task", "word_length")
    page.select_option("#defense", "none")
    page.wait_for_function("location.hash.includes('defense=none')")
    left = page.evaluate("location.hash")
    for way in ("[data-compare]", "tbody tr:not([hidden]) th a"):
        page.locator(f"section:not([hidden]) {way}").first.click()
        page.wait_for_url(lambda url: "index.html" not in url)
        page.locator("header.site").get_by_role("link", name="Standings").click()
        page.wait_for_url("**/index.html*")
        page.wait_for_selector("section:not([hidden]) .canvas svg")
        assert page.evaluate("location.hash") == left
        assert page.locator("#defense").input_value() == "none"


def test_words_are_explained_to_mouse_and_keyboard(page: Any) -> None:
    words = page.locator("section:not([hidden]) [data-tip]")
    tip = page.locator("#tip")
    for word in (words.first, words.last):
        word.hover()
        assert tip.is_visible()
        page.mouse.move(1, 1)
        assert not tip.is_visible()
        for close in ("Enter", "Space", "Escape"):
            word.press("Enter")
            assert word.get_attribute("data-tip") in tip.inner_text()
            assert word.get_attribute("aria-expanded") == "true"
            page.keyboard.press(close)
            assert not tip.is_visible()
            assert word.get_attribute("aria-expanded") == "false"
    words.first.click()
    page.mouse.move(1, 1)
    assert tip.is_visible(), "what was asked for with a click stays"
    tip.get_by_role("link").click()
    page.wait_for_url("**/about.html#term-rank")


def test_the_hardest_defense_is_named_as_far_as_the_ranks_say(page: Any, site: Path) -> None:
    section = json.loads((site / "data.json").read_text())["sections"][0]
    lines = page.locator("section:not([hidden]) .best li:visible")
    assert lines.first.inner_text().startswith(
        "On tiny(size=m) (the largest victim): adversarial_training (round 4) is"
    )
    best = next(row for row in section["rows"] if row["victim"] == "tiny(size=m)" and row["round"] == 4)
    easier = [row for row in section["rows"] if row["id"] in best["harder_than"]]
    assert {row["defense"] for row in easier} == {"none", "adversarial_training"}
    alone = lines.filter(has_text=MARKUP).inner_text()
    assert alone.startswith(f"On {MARKUP}: which defense is hardest to break cannot be said:")
    page.select_option("#victim", "tiny(size=s)")
    assert lines.count() == 1
    lines.first.get_by_role("link").click()
    page.wait_for_url("**/entries/tiny-size-s-adversarial*")


def test_ticked_rows_that_are_filtered_out_are_not_called_unticked(page: Any) -> None:
    page.locator("section:not([hidden]) tbody tr:not([hidden]) input:checked").first.uncheck()
    page.select_option("#victim", MARKUP)
    page.get_by_text("All 3 ticked rows are hidden by the filters.").wait_for()
    page.get_by_text("3 ticked, 3 of them hidden by the filters").wait_for()


def test_the_legends_choice_is_in_the_address(page: Any, browser: Any, site: Path) -> None:
    labels = "section:not([hidden]) .canvas .role-legend-label text"
    page.locator(labels).nth(1).click()
    page.wait_for_function("location.hash.includes('legend=')")
    faint = "all => all.map((e) => e.getAttribute('stroke-opacity') || e.getAttribute('opacity'))"
    lines = "section:not([hidden]) .mark-line.role-mark path"
    want = page.eval_on_selector_all(lines, faint)
    assert len(set(want)) == 2
    with watched(browser, site, f"index.html{page.evaluate('location.hash')}") as again:
        assert again.eval_on_selector_all(lines, faint) == want


def test_unticking_rows_empties_the_plot(page: Any) -> None:
    page.locator("section:not([hidden])").get_by_role("button", name="Untick all").click()
    page.get_by_text("No row is ticked.").wait_for()
    assert page.locator("section:not([hidden]) [data-save=png]").is_disabled()


@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_every_look(browser: Any, site: Path, look: str) -> None:
    with watched(browser, site, look=look) as page:
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert MARKUP in shown(page, "tbody th")
        assert page.locator("script:not([src])").count() == 0
        assert page.locator("img").count() == 0
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
        assert dark == (look == "dark")
        # Text stands out from the page: WCAG's contrast of at least 4.5 for the quiet text too.
        assert page.evaluate(CONTRAST) >= 4.5


CONTRAST = """() => {
  const light = (colour) => {
    const parts = colour.match(/[0-9]+/g).slice(0, 3).map((part) => part / 255);
    const linear = parts.map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const [a, b] = [getComputedStyle(document.querySelector('.lead')).color,
    getComputedStyle(document.body).backgroundColor].map(light).sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
}"""


@pytest.mark.parametrize("also_known", [False, True])
def test_unknown_compute_is_drawn_over_queries_and_sorted_last(browser: Any, tmp_path: Path, also_known: bool) -> None:
    served = FakeCell(victim="served", n_params=None, step_flops=None, reference_flops=None)
    run = write_run(tmp_path / "run", [served, *[FakeCell()] * also_known])
    build_site([read_run(run)], tmp_path / "site")
    with watched(browser, tmp_path / "site") as page:
        axis = page.locator("[data-plot=x]")
        assert axis.input_value() == ("flops" if also_known else "queries")
        if also_known:
            (section,) = json.loads((tmp_path / "site" / "data.json").read_text())["sections"]
            (row,) = [row for row in section["rows"] if row["victim"] == "served"]
            (curve,) = row["curves"]
            points = len(curve["points"]["step"])
            page.get_by_text(f"{points} points of unknown compute are left out").wait_for()
            for _ in range(2):
                head(page, "Compute to ASR").get_by_role("button").first.click()
                assert shown(page, "tbody th")[-1] == "served"
            axis.select_option("queries")
        page.locator(".canvas").get_by_text("queries per example").first.wait_for()
        page.wait_for_function(f"document.querySelectorAll('.role-legend-label text').length === {1 + also_known}")
        if not also_known:
            axis.select_option("flops")
            page.get_by_text("Compute unknown: nothing to draw").wait_for()
        assert "NaN" not in page.content()
