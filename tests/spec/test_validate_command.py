"""`harness validate`: one line or the list of problems, as text and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import typer
from typer.testing import CliRunner, Result

from harness.cli.validate import register
from tests.spec.test_cells import FULL
from tests.spec.toys import toy_registry


def _run(*arguments: str) -> Result:
    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    found = SimpleNamespace(loaded=lambda: SimpleNamespace(registry=toy_registry()))
    return CliRunner().invoke(app, ["validate", "--spec-only", *arguments], obj=found)


def test_fine(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(FULL)
    result = _run(str(path))
    assert result.exit_code == 0
    assert result.stdout.startswith("OK quickstart 1 ")
    assert result.stdout.endswith(", 42 cells\n")
    found = json.loads(_run(str(path), "--json").stdout)
    assert (found["ok"], found["name"], found["version"], found["cells"]) == (True, "quickstart", "1", 42)
    assert len(found["hash"]) == 64


def test_wrong(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(FULL.replace("seeds:", "sedes:"))
    result = _run(str(path))
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{path}:5: sedes: unknown field (did you mean 'seeds'?)" in result.stderr
    result = _run(str(path), "--json")
    assert result.exit_code == 2
    found = json.loads(result.stdout)
    (problem,) = found["problems"]
    assert (problem["line"], problem["column"], problem["field"]) == (5, 1, "sedes")
    assert problem["message"].startswith("unknown field (did you mean 'seeds'?)")


def test_missing_file() -> None:
    result = _run("nowhere.yaml")
    assert result.exit_code == 2
    assert "nowhere.yaml: no such file" in result.stderr
