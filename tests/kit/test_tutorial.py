"""The tutorial, followed word by word, its package installed from outside."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from harness.registry.loader import load_plugins
from harness.registry.package_imports import ImportedPackages
from harness.testing import ordinary, subject_of
from harness.testing.checks.attacks import keeps_to_the_threat
from tests.registry.outside import python
from tests.run.runs import harness_here

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tutorial.md").read_text()


def block(language: str, containing: str) -> str:
    (found,) = (t for t in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) if containing in t)
    return found


def run(*words: str, cwd: Path, site: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A module as a command, with the packages in ``site``."""
    return python("-P", "-m", *words, cwd=cwd, site=site)


def install(*packages: Path, site: Path) -> None:
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(site)]
    done = run("pip", "install", *options, *map(str, packages), cwd=site.parent)
    assert done.returncode == 0, done.stderr


def test_the_attack_is_about_40_lines_and_conforms(tmp_path):
    source = block("python", "class TwoPoint")
    lines = [line for line in source.split("\n") if line.strip()]
    assert len(lines) <= 40
    (tmp_path / "two_point.py").write_text(source)
    registry = load_plugins([tmp_path / "two_point.py"], ImportedPackages()).registry
    keeps_to_the_threat(subject_of("attack/two_point", registry=registry), ordinary("labels", "scores"))


def test_the_line_for_the_quickstart_fits_it():
    spec = (ROOT / "specs" / "quickstart.yaml").read_text()
    line = block("yaml", "two_point")
    attacks = yaml.safe_load(spec.replace("\nattacks:\n", f"\nattacks:\n{line}"))["attacks"]
    assert [next(iter(attack)) for attack in attacks] == ["two_point", "random_token", "gcg"]
    draws = next(attack["random_token"]["draws"] for attack in attacks if "random_token" in attack)
    assert attacks[0]["two_point"]["tries"] == draws


@pytest.mark.slow
def test_the_commands(tmp_path):
    site = tmp_path / "site-packages"
    made = harness_here("new-plugin", "two_point", "--kind", "attack", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    package = tmp_path / "two_point"
    (package / "src" / "two_point.py").write_text(block("python", "class TwoPoint"))
    (package / "tests" / "test_two_point.py").write_text(block("python", "import conforms"))
    install(package, site=site)
    checked = run("harness", "check", "two_point", "--json", cwd=package, site=site)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert {finding["status"] for finding in json.loads(checked.stdout)} == {"ok"}
    tested = run("pytest", "-q", "-p", "no:cacheprovider", cwd=package, site=site)
    assert tested.returncode == 0, tested.stdout
    assert "17 passed" in tested.stdout
    quickstart = yaml.safe_load((ROOT / "specs" / "quickstart.yaml").read_text())
    quickstart["attacks"] = [*yaml.safe_load(block("yaml", "two_point")), quickstart["attacks"][0]]
    quickstart |= {"tasks": quickstart["tasks"][:1], "victims": [{"tiny": {"size": "7k", "steps": 20}}]}
    quickstart |= {"defenses": ["none"], "seeds": [0], "examples": 6, "clean_examples": 30}
    (package / "spec.yaml").write_text(yaml.safe_dump(quickstart))
    done = run("harness", "run", "spec.yaml", "--quiet", "--site", "site", cwd=package, site=site)
    assert done.returncode == 0, done.stderr
    assert "two_point" in (package / "site" / "index.html").read_text()
