"""Pages of defenses and attacks show what the entries say, and each defense has something measured."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from harness.registry.loader import load_plugins

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "defenses"
DEFENSES = sorted(
    entry.name
    for entry in load_plugins().registry.entries("defense")
    if entry.distribution == "robustness-harness" and entry.name != "none"
)


@pytest.mark.slow
@pytest.mark.parametrize(("script", "least"), [("write_measured", 6), ("write_attacks", 10), ("write_questions", 2)])
def test_measured_rows_are_those_of_the_entries(script: str, least: int) -> None:
    spec = importlib.util.spec_from_file_location(script, ROOT / "docs" / f"{script}.py")
    assert spec is not None
    assert spec.loader is not None
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    written = dict(writer.pages())
    assert len(written) >= least
    for page, text in written.items():
        assert page.read_text(encoding="utf-8") == text, f"{page.name}: run `python docs/{script}.py`"


@pytest.mark.parametrize("defense", DEFENSES)
def test_each_defense_has_a_page_with_a_measured_row(defense: str) -> None:
    _, _, measured = (PAGES / f"{defense}.md").read_text(encoding="utf-8").partition("\n## Measured\n")
    rows = [line for line in measured.partition("\n## ")[0].splitlines() if line.startswith("| ")]
    assert len(rows) >= 2, "a heading and a row"
