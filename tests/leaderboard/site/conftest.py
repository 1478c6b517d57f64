"""A browser for the tests of the site."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.processes import LONGEST

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
ARGS += ["--disable-sync", "--no-first-run"]
SIZES = {"light": (1280, 900), "dark": (1280, 900), "phone": (390, 844), "tablet": (820, 1180)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window; skips the test where there is none."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=ARGS, timeout=1000 * LONGEST)
        new_page = browser.new_page

        def patient_page(**kwargs: Any) -> Any:
            page = new_page(**kwargs)
            page.set_default_timeout(1000 * LONGEST)
            return page

        browser.new_page = patient_page
        yield browser
        browser.close()


@dataclass
class Seen:
    """What a page did that it should not."""

    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)


def violations(page: Any, look: str = "light") -> list[str]:
    """What axe-core finds wrong with the page as it stands: rule and element; in the dark look, with its colours."""
    axe = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    page.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    # Nothing is loaded beforehand, as the page may fetch nothing.
    options: dict[str, Any] = {"preload": False, "rules": {"target-size": {"enabled": True}}}
    if look == "dark":  # all else is the same page
        options = {"preload": False, "runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
    found = page.evaluate("(options) => axe.run(document, options)", options)["violations"]
    return [f"{each['id']}: {node['html']}" for each in found for node in each["nodes"]]


@contextmanager
def watched(browser: Any, site: Path, address: str = "index.html", look: str = "light") -> Iterator[Any]:
    """The page at ``address`` of the site, its plot drawn. At the end: no message in the console, no request but to
    files of the site, no dialog.
    """
    width, height = SIZES[look]
    scheme = "dark" if look == "dark" else "light"
    page, seen = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme), Seen()
    page.on("console", lambda message: seen.messages.append(message.text))
    page.on("pageerror", lambda error: seen.messages.append(str(error)))
    page.on("request", lambda r: seen.requests.append(r.url))
    page.on("dialog", lambda dialog: (seen.dialogs.append(dialog.message), dialog.dismiss()))
    path, _, state = address.partition("#")
    page.goto((site / path).as_uri() + (f"#{state}" if state else ""))
    if "<figure" in (site / path).read_text(encoding="utf-8"):
        page.wait_for_selector("figure:not([hidden]) .canvas svg >> visible=true")
    yield page
    page.wait_for_timeout(100)
    page.close()
    assert seen.messages == []
    assert seen.dialogs == []
    inside = (site.as_uri() + "/", "data:", "blob:")
    assert [url for url in seen.requests if not url.startswith(inside)] == []
