"""Where the study's published tables are, next to the repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
STUDY = ROOT.parent / "shared" / "data" / "scaling_trends"


def study_file(name: str) -> Path:
    """The file of that name; skips the test where the data is missing."""
    path = STUDY / name
    if not path.is_file():
        pytest.skip(f"the study's published tables are not at {STUDY}")
    return path


def expected(name: str) -> list[dict[str, Any]]:
    """What least squares gives on the named table."""
    found: list[dict[str, Any]] = json.loads(study_file("expected.json").read_text())[name]
    return found
