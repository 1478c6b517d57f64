"""`harness new-plugin` writes a package that can be installed, checked, tested and run; or says why it does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.plugin import KINDS
from harness.registry.loader import load_plugins
from harness.registry.packages import Packages
from harness.testing import check_plugin
from tests.kit.test_tutorial import install, run
from tests.run.runs import harness_here


def new(name: str, kind: str, folder: Path, *more: str):
    return harness_here("new-plugin", name, "--kind", kind, *more, cwd=folder)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_conforms(tmp_path, kind):
    name = f"brand_new_{kind}"
    done = new(name, kind, tmp_path, "--into", "there")
    assert done.returncode == 0, done.stderr
    package = tmp_path / "there" / name
    wanted = {"pyproject.toml", "README.md", "spec.yaml", f"src/{name}.py", f"tests/test_{name}.py"}
    assert files(tmp_path / "there") == {f"{name}/{file}" for file in wanted}
    readme = (package / "README.md").read_text()
    commands = ("pip install -e .", f"harness check {kind}/{name}", "harness run spec.yaml")
    assert all(command in readme for command in commands)
    source = package / "src" / f"{name}.py"
    assert max(map(len, source.read_text().split("\n"))) <= 120
    registry = load_plugins([source], load_packages()).registry
    findings = check_plugin(f"{kind}/{name}", registry=registry)
    assert [str(finding) for finding in findings if finding.status == "failed"] == []
    from harness.spec import load_spec

    assert load_spec(package / "spec.yaml", registry).cells


def load_packages() -> Packages:
    from harness.registry.packages import import_packages

    return import_packages()


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("Hill-Climb", "attack", "'hill_climb' would do"),
        ("HillClimb", "attack", "'hill_climb' would do"),
        ("2fast", "attack", "'fast' would do"),
        ("", "attack", "no name for a plugin"),
        ("a" * 41, "attack", "at most 40"),
        ("class", "attack", "reserved"),
        ("params", "task", "reserved"),
        ("gcg", "attack", "the attacks have one called 'gcg' already, of robustness-harness"),
        ("json", "task", "'json' is the name of a Python module"),
        ("harness", "task", "'harness' is the name of a Python module"),
        ("../up", "task", "no name for a plugin"),
        ("fine_name", "atack", "did you mean 'attack'?"),
    ],
)
def test_names_that_will_not_do(tmp_path, name, kind, words):
    done = new(name, kind, tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert not files(tmp_path)


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    done = new("mine", "attack", tmp_path)
    assert done.returncode == 2
    assert "exists already" in done.stderr
    assert files(tmp_path) == {"mine/notes.txt"}
    (tmp_path / "file").write_text("")
    done = new("other", "attack", tmp_path, "--into", "file")
    assert done.returncode == 2
    assert "--into file" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_installed_from_outside_it_is_checked_tested_and_run(tmp_path, kind):
    name, site = f"brand_new_{kind}", tmp_path / "site-packages"
    assert new(name, kind, tmp_path).returncode == 0
    package = tmp_path / name
    install(package, site)
    checked = run("harness", "check", f"{kind}/{name}", "--json", cwd=package, site=site)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert {finding["status"] for finding in json.loads(checked.stdout)} <= {"ok", "skipped"}
    tested = run("pytest", "-q", "-p", "no:cacheprovider", cwd=package, site=site)
    assert tested.returncode == 0, tested.stdout
    done = run("harness", "run", "spec.yaml", "--quiet", "--site", "site", cwd=package, site=site)
    assert done.returncode == 0, done.stderr
    cells = [json.loads(path.read_text()) for path in package.glob("runs/*/cells/*/cell.json")]
    assert cells
    assert all(cell["status"] == "done" for cell in cells)
    assert any(cell[kind]["distribution"] == f"harness-brand-new-{kind}" for cell in cells)
