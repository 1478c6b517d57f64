"""What several attacks add to the page, in a real browser: worst case, transfer matrix, latent attacks apart."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.records.read import read_run
from leaderboard.site.build import build_site
from leaderboard.table_numbers import percent, scientific
from tests.leaderboard.fake_quickstart import quickstart_cells
from tests.leaderboard.fake_run import FakeCell, write_run


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_worst_case_transfer_and_latent_attacks(browser: Any, tmp_path: Path, width: int) -> None:
    cells = quickstart_cells()
    cells += [replace(c, attack="pgd", space="latent", hardness=9.0) for c in cells if c.attack == "gcg"]
    cells += [replace(FakeCell(), task="alone", data_hash="a" * 64)]
    index = build_site([read_run(write_run(tmp_path / "run", cells))], tmp_path / "site")
    data = json.loads((tmp_path / "site" / "data.json").read_text())
    section = next(s for s in data["sections"] if s["task"] == "word_length" and s["space"] == "text")
    page, messages = browser.new_page(viewport={"width": width, "height": 900}), []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.goto(index.as_uri())
    page.select_option("#task", "word_length")
    view = page.locator(f"#{section['id']}")
    view.locator(".canvas svg").wait_for()
    view.get_by_role("button", name="Tick all", exact=True).click()
    view.locator("[data-plot=attack]").select_option("worst")
    view.get_by_text("any attack (worst case)", exact=True).first.wait_for(state="attached")
    # One point of the union, as the page draws it and as the data say it.
    page.wait_for_function(f"document.querySelectorAll('#{section['id']} .mark-line.role-mark path').length === 9")
    view.locator(".mark-symbol.role-mark path").first.hover(force=True)
    tip = page.locator("#vg-tooltip-element.visible")
    tip.wait_for()
    told = {r.locator(".key").inner_text(): r.locator(".value").inner_text() for r in tip.locator("tr").all()}
    row = next(row for row in section["rows"] if row["series"] == told["row"])
    assert told["attack"] == "any attack (worst case)"
    columns = row["worst"]["points"]
    place = [f"{scientific(budget)} FLOPs" for budget in columns["budget"]].index(told["budget each"])
    assert told["FLOPs"] == scientific(columns["compute"][place])
    assert told["ASR"] == percent(columns["value"][place])
    # The table sorts by it.
    view.locator("thead th", has_text="ASR at full budget").get_by_role("button").first.click()
    shown = view.locator("td[data-label='ASR at full budget'] .main").all_inner_texts()
    assert shown == sorted(shown, key=lambda text: -float(text.rstrip("%")))
    # Latent attacks have a table of their own, marked in words.
    assert page.locator("section.scope:visible").count() == 2
    assert page.locator("section.scope:visible .notice", has_text="Latent space: not comparable").count() == 1
    assert "pgd" not in view.inner_text()
    # The matrices are those of the task.
    visible = page.locator("section.transfer:visible")
    assert visible.count() == 1
    numbers = visible.locator("td .main").all_inner_texts()
    (matrix,) = [m for m in data["transfer"] if m["task"] == "word_length"]
    assert numbers == [f"{100 * cell['value']:.1f}%" for cells in matrix["cells"] for cell in cells]
    assert visible.get_by_text("as trained").count() == 6
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.select_option("#task", "alone")
    assert visible.count() == 0
    assert page.locator("section.scope:visible option[value=worst]").count() == 0
    assert messages == []
    page.close()
