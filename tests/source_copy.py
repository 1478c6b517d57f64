"""A copy of what the distribution is built from: building leaves files in the folder."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]


def copy_sources(folder: Path) -> Path:
    """Copy the packages, the specs and what describes them; returns the folder."""
    folder.mkdir()
    for name in ("harness", "leaderboard", "plugins", "specs"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder)
    return folder
