"""Plugin packages from outside, made for a test and seen by a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.processes import LONGEST
from tests.registry.forks import in_a_fork

Run = Callable[..., subprocess.CompletedProcess[str]]

ATTACK = '''
from harness import Attack, Score, hookimpl

class {cls}(Attack):
    """{summary}"""

    name = "{name}"

    def start(self, problem, rng):
        return problem.state(problem.random_tokens(rng))

    def step(self, state, problem, rng):
        yield Score(state.array[None])
        return state

@hookimpl
def harness_register_attacks(register):
    register({cls})
'''


def attack(name: str = "outside", cls: str = "Outside", summary: str = "An attack from outside.") -> str:
    """Source of a module with one attack."""
    return ATTACK.format(name=name, cls=cls, summary=summary)


def make_distribution(
    site: Path, name: str, modules: dict[str, str], points: dict[str, str] | None = None, version: str = "1.2.3"
) -> None:
    """Make an installed distribution in a folder; by default every module is an entry point."""
    for file, source in modules.items():
        path = site / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    points = {Path(file).stem: Path(file).stem for file in modules} if points is None else points
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = "".join(f"{key} = {value}\n" for key, value in points.items())
    (info / "entry_points.txt").write_text(f"[harness]\n{lines}")


def python(
    *arguments: str, site: Path | None = None, cwd: Path | None = None, timeout: float = LONGEST, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run Python in a process that sees the packages in ``site``."""
    paths = {"PYTHONPATH": str(site)} if site else {}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **paths, **env},
        timeout=timeout,
    )


def harness(
    *arguments: str, site: Path | None = None, cwd: Path | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a fork of a process that has imported the harness and the built-ins."""
    paths = {"PYTHONPATH": str(site)} if site else {}
    return in_a_fork(*arguments, cwd=cwd, env=paths | env)


def harness_anew(
    *arguments: str, site: Path | None = None, cwd: Path | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line again; ``-P`` keeps the working directory off the path, as the installed script does."""
    return python("-P", "-m", "harness", *arguments, site=site, cwd=cwd, **env)


def plugins(
    *arguments: str, site: Path | None = None, cwd: Path | None = None, run: Run = harness, **env: str
) -> tuple[dict[str, Any], str]:
    """What `harness plugins` lists, by ``kind/name``, and what it says on stderr."""
    done = run(*arguments, "plugins", "--json", site=site, cwd=cwd, **env)
    assert done.returncode == 0, done.stderr
    return {f"{row['kind']}/{row['name']}": row for row in json.loads(done.stdout)}, done.stderr
