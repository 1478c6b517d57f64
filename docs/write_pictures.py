"""Draws the pictures of docs/leaderboard.md and the README from a page that was built; needs Chromium and playwright.

harness run quickstart --jobs 2 --site site
python docs/write_pictures.py site
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

DOCS = Path(__file__).parent
TASK = "#task=word_length"
# File, address in the site, width, height, dark.
PICTURES = [
    ("leaderboard", f"index.html{TASK}", 1180, 1310, False),
    ("leaderboard_dark", f"index.html{TASK}&kind=offense", 900, 880, True),
    ("leaderboard_phone", f"index.html{TASK}", 390, 880, False),
    ("leaderboard_entry", "", 1180, 1560, False),
    ("leaderboard_compare", "", 1180, 1180, False),
]


def main(site: Path) -> None:
    """Write them into the folder of this file."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        sys.exit("Chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        root = site.resolve().as_uri()
        for name, address, width, height, dark in PICTURES:
            size, scheme = {"width": width, "height": height}, "dark" if dark else "light"
            page = browser.new_page(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
            page.goto(f"{root}/{address or f'index.html{TASK}'}")
            if name == "leaderboard_entry":
                page.locator("section.scope:visible tbody a", has_text="150k").first.click()
            if name == "leaderboard_compare":
                page.get_by_text("Compare side by side").locator("visible=true").first.click()
            page.wait_for_timeout(1500)  # until its plots are drawn
            page.screenshot(path=DOCS / f"{name}.png")
            page.close()
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
