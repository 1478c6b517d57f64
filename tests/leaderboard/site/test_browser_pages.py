"""The pages next to the standings in a real browser: side by side, one victim and defense, one attack."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.records.read import read_run
from leaderboard.site.build import build_site
from leaderboard.table_numbers import percent, scientific
from tests.leaderboard.fake_quickstart import quickstart_cells
from tests.leaderboard.fake_run import FakeCell, write_run
from tests.leaderboard.site.conftest import violations, watched

MARKUP = "</pre><script>alert(1)</script><img src=x onerror=alert(2)>\u202etxt"
TALK = [("system", f"{MARKUP} or not"), ("user", "a long word " * 40)]
SHOWN = MARKUP.replace("\u202e", "\\u202e")  # signs that are not seen are written out

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    cells = [replace(cell, text=MARKUP) for cell in quickstart_cells(tasks=["word_length"])]
    cells += [replace(c, round=2, defense_flops=c.defense_flops / 2) for c in cells if c.round == 4]
    like = cells[0]
    cells += [
        FakeCell(data_hash=like.data_hash, victim=MARKUP, defense=MARKUP, attack=MARKUP, text=MARKUP, messages=TALK)
    ]
    build_site([read_run(write_run(folder / "run", cells))], folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def section(site: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((site / "data.json").read_text())["sections"][0]
    return found


def test_from_ticks_to_side_by_side_by_keyboard(browser: Any, site: Path, section: dict[str, Any]) -> None:
    with watched(browser, site) as page:
        view = page.locator(f"#{section['id']}")
        compare = view.get_by_role("button", name="Compare side by side")
        view.get_by_role("button", name="Untick all").press("Enter")
        assert compare.is_disabled()
        boxes = view.locator("tbody input[type=checkbox]")
        boxes.nth(0).press("Space")
        assert compare.is_disabled()
        boxes.nth(1).press("Space")
        boxes.nth(3).press("Space")
        view.get_by_text("3 ticked").wait_for()
        compare.press("Enter")
        page.wait_for_url("**/compare.html*")
        page.locator("figure .canvas svg").wait_for()
        chosen = [section["rows"][at] for at in (0, 1, 3)]
        heads = page.locator(".compare thead th a").all_inner_texts()
        assert heads == [row["victim"] for row in chosen]
        cells = page.locator(".compare tbody tr", has_text="ASR at full budget").first.locator("td .main")
        assert cells.all_inner_texts() == [f"{100 * row['asr']['value']:.1f}%" for row in chosen]
        assert page.locator(".role-legend-label text").count() == 3
        examples = page.locator(".compare tbody tr", has_text="Examples").locator("td .fine").all_inner_texts()
        excluded = [f"{count} {reason}" for row in chosen for reason, count in row["excluded"].items()]
        assert [text.splitlines()[-1] for text in examples] == [f"not attacked: {text}" for text in excluded]
        page.locator(".compare tbody tr", has_text="Compute to ASR").locator("[data-tip]").click()
        assert "cheapest attack" in page.locator("#tip").inner_text()
        page.keyboard.press("Escape")
        page.reload()  # the address holds the choice
        page.locator("figure .canvas svg").wait_for()
        assert page.locator(".compare thead th a").count() == 3


def test_side_by_side_without_a_choice_says_what_to_do(browser: Any, site: Path) -> None:
    page, errors = browser.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((site / "compare.html").as_uri() + "#rows=nothing")
    page.get_by_text("Tick two to five rows").wait_for()
    page.close()
    assert errors == []


@pytest.mark.parametrize("look", ["light", "dark", "phone", "tablet"])
def test_every_kind_of_page_in_every_look(browser: Any, site: Path, section: dict[str, Any], look: str) -> None:
    """Nothing wider than the window, and nothing that axe-core finds."""
    rows = section["rows"]
    trained = next(row for row in rows if row["round"] == 4)
    marked = next(row for row in rows if row["victim"] == SHOWN)
    attack = next((site / "attacks").glob("gcg-*.html")).name
    ids = ",".join(row["id"] for row in rows[:5])
    pages = [f"entries/{trained['entry']}.html", f"entries/{marked['entry']}.html"]
    defense = next((site / "defenses").glob("adversarial-*.html")).name
    pages += [f"attacks/{attack}", f"compare.html#rows={ids}"]
    views = {
        "light": ["index.html#kind=offense&y=linear", "tasks.html", "about.html", f"defenses/{defense}", *pages],
        "dark": ["index.html", "tasks.html", *pages],
        "phone": pages,
        "tablet": ["index.html", pages[0]],
    }
    for address in views[look]:
        with watched(browser, site, address, look) as page:
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), address
            if look in ("light", "dark"):
                page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
                assert violations(page, look) == [], address
            elif page.locator(".standings").count():
                box = page.locator(".scroll:has(.standings)").first
                assert box.evaluate("(box) => box.scrollWidth <= box.clientWidth"), address
            assert page.locator("h1").count() == 1
            for table in page.locator("table").all():
                assert table.locator("caption").count() == 1
                assert table.locator("th[scope=row]").count() > 0


def test_attack_strings_stay_text_behind_a_click(browser: Any, site: Path, section: dict[str, Any]) -> None:
    row = next(row for row in section["rows"] if row["victim"] == SHOWN)
    with watched(browser, site, f"entries/{row['entry']}.html") as page:
        text = page.locator(".strings pre").first
        assert not text.is_visible()
        page.locator(".strings summary").first.press("Enter")
        assert text.is_visible()
        assert text.inner_text() == f"{SHOWN} or not"
        assert page.locator(".strings mark").first.inner_text() == SHOWN
        page.set_viewport_size({"width": 360, "height": 700})
        # Charts are drawn again a moment after the size has changed.
        page.wait_for_function("document.documentElement.scrollWidth <= window.innerWidth")
        text.focus()
        assert page.evaluate("document.activeElement.tagName") == "PRE"
        assert page.locator("img, script:not([src])").count() == 0


def test_costs_and_provenance_are_told(browser: Any, site: Path, section: dict[str, Any]) -> None:
    row = next(row for row in section["rows"] if row["round"] == 4)
    with watched(browser, site, f"entries/{row['entry']}.html") as page:
        assert page.locator(".role-legend-label text").count() == 3  # a line per round
        command = page.locator("pre.command")
        assert "harness run fake-" in command.inner_text()
        assert f"--only 'victim={row['victim']}' --only defense={row['defense']} " in command.inner_text()
        copy = page.locator("[data-copy]")
        copy.click()  # where a browser keeps its clipboard to itself, the command is selected
        page.wait_for_function("['Copied', 'Selected'].includes(document.querySelector('[data-copy]').textContent)")
        if copy.inner_text() == "Selected":
            assert page.evaluate("getSelection().toString()").strip() == command.inner_text()
        told = page.locator("main").inner_text()
        assert "Search of the defense" in told
        assert "trained against" in told
        page.locator("summary", has_text="Plugins, versions").click()
        assert page.get_by_text("robustness-harness 0.1.0").first.is_visible()
        page.get_by_role("link", name="gcg").first.click()
        page.wait_for_url("**/attacks/gcg-*.html")
        assert page.locator("tbody tr").count() == len([r for r in section["rows"] if r["victim"] != SHOWN])


def test_numbers_as_a_table_and_downloads(browser: Any, site: Path, section: dict[str, Any], tmp_path: Path) -> None:
    row = next(row for row in section["rows"] if row["round"] is None and row["victim"] == "tiny(size=s)")
    with watched(browser, site, f"entries/{row['entry']}.html") as page:
        page.locator("details.numbers summary").press("Enter")
        points = sum(value > 0 for curve in row["curves"] for value in curve["points"]["value"])
        page.wait_for_function(f"document.querySelectorAll('details.numbers tbody tr').length === {points}")
        saved = {}
        for form in ("png", "svg", "csv"):
            with page.expect_download() as waiting:
                page.locator(f"[data-save={form}]").click()
            saved[form] = tmp_path / f"plot.{form}"
            waiting.value.save_as(saved[form])
        rows = list(csv.DictReader(io.StringIO(saved["csv"].read_text())))
        assert len(rows) == points
        page.locator("details.curves summary").press("Enter")
        with page.expect_download() as waiting:
            page.locator("details.curves").get_by_role("button", name="gcg").click()
        one = list(csv.DictReader(io.StringIO(waiting.value.path().read_text())))
        assert one == [r for r in rows if r["attack"] == "gcg"]
        assert 0 < len(one) < len(rows)
        assert {float(r["value"]) for r in rows} <= {v for c in row["curves"] for v in c["points"]["value"]}
        assert saved["svg"].read_text().startswith("<svg")
        assert Image.open(saved["png"]).size[0] > 1000


def test_offense_and_rounds_say_what_the_json_says(browser: Any, site: Path, section: dict[str, Any]) -> None:
    with watched(browser, site) as page:
        view = page.locator(f"#{section['id']}")
        for kind, key in (("offense", "defense FLOPs"), ("rounds", "defense FLOPs")):
            view.locator("[data-plot=kind]").select_option(kind)
            view.get_by_text("round of the defense" if kind == "rounds" else "slope 1").first.wait_for()
            view.locator(".mark-symbol.role-mark path").last.hover(force=True)
            tip = page.locator("#vg-tooltip-element.visible")
            tip.wait_for()
            told = {r.locator(".key").inner_text(): r.locator(".value").inner_text() for r in tip.locator("tr").all()}
            row = next(
                r
                for r in section["rows"]
                if f"{r['victim']} · {r['defense']}" == told["row"] and str(r["round"]) == told["round"]
            )
            assert told[key] == scientific(row["defense_compute"])
            if kind == "offense":
                want = row["breaking"]["compute"] or row["breaking"]["within"]
                assert told["FLOPs to break"] == scientific(want)
            else:
                assert told["ASR"] == percent(row["strongest"]["value"])
            page.mouse.move(1, 1)
