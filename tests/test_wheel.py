"""The built distribution, installed into an environment of its own, does what the README says without a checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.records.read import read_run
from tests.source_copy import copy_sources


def command(*words: str | Path, cwd: Path, timeout: float) -> str:
    """What it prints; fails with its errors."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0, f"{words}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


@pytest.mark.wheel
@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_a_wheel_alone_runs_the_quickstart_by_its_name(tmp_path: Path) -> None:
    empty, fresh = tmp_path / "empty", tmp_path / "fresh" / "bin"
    empty.mkdir()
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path)
    command(*pip, copy_sources(tmp_path / "source"), cwd=tmp_path, timeout=300)
    (wheel,) = tmp_path.glob("robustness_harness-*.whl")
    command(sys.executable, "-m", "venv", fresh.parent, cwd=tmp_path, timeout=120)
    command(fresh / "python", "-m", "pip", "install", "--quiet", wheel, cwd=tmp_path, timeout=1200)
    where = command(fresh / "python", "-c", "import harness; print(harness.__file__)", cwd=empty, timeout=60)
    assert Path(where.strip()).is_relative_to(fresh.parent)
    assert "quickstart" in command(fresh / "harness", "specs", cwd=empty, timeout=120)
    assert not list(empty.iterdir())
    command(fresh / "harness", "run", "quickstart", "--jobs", "2", "--site", "site", cwd=empty, timeout=1800)
    (run,) = (empty / "runs").iterdir()
    found = read_run(run)
    assert not found.failed
    assert len(list(found)) == 48
    assert "password_match" in (empty / "site" / "index.html").read_text(encoding="utf-8")
    assert "gcg" in command(fresh / "harness", "leaderboard", "show", run, cwd=empty, timeout=120)
