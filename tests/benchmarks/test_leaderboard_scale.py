"""The benchmark of large leaderboards, with a small one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import LONGEST

SCRIPT = Path(__file__).with_name("leaderboard_scale.py")


@pytest.mark.slow
def test_a_site_of_made_up_cells_is_built_and_measured(tmp_path: Path) -> None:
    small = ["--cells", "48", "--examples", "8", "--steps", "4", "--processes", "1", "--keep", str(tmp_path)]
    done = subprocess.run([sys.executable, SCRIPT, *small], capture_output=True, text=True, timeout=LONGEST)
    assert done.returncode == 0, done.stderr
    assert "cells written to" in done.stdout
    assert "s on as many quiet cores; peak " in done.stdout
    assert (tmp_path / "site48" / "index.html").is_file()
