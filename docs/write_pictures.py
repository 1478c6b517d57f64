"""Draws the pictures of docs/leaderboard.md and the README, light and dark, from a page of the entries; needs
Chromium and playwright.

harness leaderboard build --entries leaderboard/entries --verified leaderboard/verified --out site
python docs/write_pictures.py site
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import Page, sync_playwright

DOCS = Path(__file__).parent
SUFFIX = "suffix, 10 tokens, gradient"


@dataclass(frozen=True)
class Picture:
    """A file, and what stands in it.

    Attributes:
        view: of the standings, as their address has it.
        size: of the window, in pixels.
        click: a link of the visible standings to follow, by its words; "": none.
        part: what is drawn of the page, as a selector; "": the window.
    """

    name: str
    view: dict[str, str]
    size: tuple[int, int]
    click: str = ""
    part: str = ""

    def open(self, page: Page, site: Path) -> None:
        """Show it."""
        page.goto(f"{site.resolve().as_uri()}/index.html#{urlencode(self.view)}")
        if self.click:
            page.get_by_text(self.click, exact=False).locator("visible=true").first.click()
        page.wait_for_timeout(2000)  # until its plots are drawn


LABELS = {"task": "word_length", "threat": SUFFIX}
PICTURES = [
    Picture("leaderboard", LABELS, (1180, 1310)),
    Picture("leaderboard_offense", LABELS | {"kind": "offense"}, (900, 880), part="section.scope .plot"),
    Picture("leaderboard_pareto", LABELS | {"kind": "pareto"}, (1180, 880), part="section.scope .plot"),
    Picture("leaderboard_phone", LABELS, (390, 880)),
    Picture("leaderboard_entry", LABELS, (1180, 1560), "perplexity_filter"),
    Picture("leaderboard_compare", LABELS, (1180, 1180), "Compare side by side"),
]


def main(site: Path) -> None:
    """Write them into the folder of this file."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        sys.exit("Chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        for picture in PICTURES:
            for scheme, ending in (("light", ""), ("dark", "_dark")):
                width, height = picture.size
                page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
                picture.open(page, site)
                path = DOCS / f"{picture.name}{ending}.png"
                if picture.part:
                    page.locator(picture.part).locator("visible=true").first.screenshot(path=path)
                else:
                    page.screenshot(path=path)
                page.close()
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
