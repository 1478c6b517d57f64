"""What `harness` exports is written down, and does not change without a word."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

from tests.api.exports import exports

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


def changed(before: dict, now: dict) -> list[str]:
    """Names that are new, gone or different."""
    pairs = {(module, name) for side in (before, now) for module, names in side.items() for name in names}
    return sorted({n for m, n in pairs if before.get(m, {}).get(n) != now.get(m, {}).get(n)})


def unmentioned(names: list[str], changelog: str) -> list[str]:
    """Names that the changelog's first section does not have in backquotes."""
    unreleased = re.split(r"^## ", changelog, flags=re.MULTILINE)[1]
    words = {word for code in re.findall(r"`([^`]+)`", unreleased) for word in re.findall(r"\w+", code)}
    return [name for name in names if name not in words]


def test_every_export_is_in_the_reference_once():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    written = re.findall(r"^::: (.+)$", page, re.MULTILINE)
    exported = [
        f"{module}.{name}" for module, names in exports().items() for name in names if not name.startswith("__")
    ]
    assert sorted(written) == sorted(exported)


def test_the_table_of_columns_is_up_to_date():
    module = importlib.util.module_from_spec(
        spec := importlib.util.spec_from_file_location("write_columns", ROOT / "docs" / "write_columns.py")
    )
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / "columns.md").read_text(encoding="utf-8") == module.page(), (
        "run `python docs/write_columns.py`"
    )


def test_no_export_changes_without_a_line_in_the_changelog():
    releases = sorted(HERE.glob("*.json"), key=lambda path: [int(part) for part in path.stem.split(".")])
    before = json.loads(releases[-1].read_text())
    silent = unmentioned(changed(before, exports()), (ROOT / "CHANGELOG.md").read_text())
    assert not silent, f"{', '.join(silent)} changed since {releases[-1].stem}: name it in backquotes in CHANGELOG.md"


def test_a_silent_change_is_noticed():
    now = exports()
    before = json.loads(json.dumps(now))
    before["harness"]["Attack"] += "\n    def gone(self)"
    del before["harness"]["Score"]
    before["harness"]["Vanished"] = "class Vanished"
    found = changed(before, now)
    assert found == ["Attack", "Score", "Vanished"]
    log = "# Changelog\n\n## [Unreleased]\n- `Attack.gone` is gone.\n\n## [0.0.9]\n- `Score`\n"
    assert unmentioned(found, log) == ["Score", "Vanished"]


def test_signatures_say_what_a_user_would_notice():
    found = exports()["harness"]
    assert "def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Step" in found["Attack"]
    assert "model: str = ''" in found["Score"]
    assert found["NO_LABEL"] == "NO_LABEL = -1"
    assert found["Progress"].startswith("Progress = Callable[")
    assert len(found) > 90
