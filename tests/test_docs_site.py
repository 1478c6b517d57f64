"""The documentation builds as a site without a broken link, and loads nothing from elsewhere."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.leaderboard.site.conftest import browser  # noqa: F401
from tests.processes import LONGEST

ROOT = Path(__file__).parents[1]

pytest.importorskip("mkdocs", reason="the site needs the extra `docs`")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # the leaderboard of all entries is built as well


def build(root: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(root / "mkdocs.yml"), "-d", str(out)]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=1500)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("docs") / "site"
    done = build(ROOT, out)
    assert done.returncode == 0, done.stderr
    return out


def test_the_reference_shows_signatures_and_docstrings(site: Path) -> None:
    page = re.sub(r"<[^>]+>|\s+", "", (site / "api.html").read_text(encoding="utf-8"))
    assert "step(state:State,problem:Problem,rng:Generator)" in page
    assert "Asearchforanattackstring" in page


def test_it_loads_nothing_from_elsewhere(site: Path) -> None:
    source = re.compile(r'<(?:script|img|link)[^>]*?(?:src|href)="(https?://[^"]+)"')
    assert {url for page in site.rglob("*.html") for url in source.findall(page.read_text(encoding="utf-8"))} == set()


def test_it_is_searched_from_disk(site: Path, browser: Any) -> None:  # noqa: F811
    page = browser.new_page()
    page.goto((site / "clusters.html").as_uri())
    page.locator(".md-search__input").focus()
    ready = "document.querySelector('.md-search-result__meta').textContent.trim() === 'Type to start searching'"
    page.wait_for_function(ready, timeout=1000 * LONGEST)
    page.locator(".md-search__input").press_sequentially("autodan")
    page.locator(".md-search-result__item").first.wait_for(timeout=1000 * LONGEST)
    assert "autodan" in page.locator(".md-search-result__list").inner_text().lower()


def test_every_attack_and_defense_has_its_page(site: Path) -> None:
    for folder in ("attacks", "defenses"):
        pages = {page.stem for page in (ROOT / "docs" / folder).glob("*.md")} - {"README"}
        assert pages <= {page.stem for page in (site / folder).glob("*.html")}
    assert "leaderboard_dark.png" in (site / "leaderboard.html").read_text(encoding="utf-8")


def test_a_broken_link_is_an_error(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    for name in ("mkdocs.yml", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "README.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("tests", "harness"):
        (tmp_path / name).symlink_to(ROOT / name)
    page = tmp_path / "docs" / "speed.md"
    page.write_text(page.read_text(encoding="utf-8") + "\n[gone](no_such_page.md) [lost](../tests/no_such_test.py)\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    assert "no_such_page.md" in done.stderr
    assert "no_such_test.py" in done.stderr


def test_the_leaderboard_of_the_entries_is_in_it(site: Path) -> None:
    entries = sorted((ROOT / "leaderboard" / "entries").glob("*.json"))
    assert entries
    results = (site / "results.html").read_text(encoding="utf-8")
    data = (site / "leaderboard" / "data.json").read_text(encoding="utf-8")
    for entry in entries:
        spec = json.loads(entry.read_text(encoding="utf-8"))["run"]["spec_name"]
        assert f"<td>{spec}</td>" in results
        assert f'"{spec}"' in data
