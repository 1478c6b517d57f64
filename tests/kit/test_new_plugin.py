"""`harness new-plugin` writes a package that can be installed, checked, tested and run; or says why it does not."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest

from harness.registry.loader import load_plugins
from harness.registry.package_imports import ImportedPackages
from harness.scaffold.names import TEMPLATES
from harness.testing import run_check, subject_of
from harness.testing.runner import checks_for
from tests.kit.test_tutorial import install, run
from tests.registry.outside import python
from tests.run.runs import harness_here


def new(name: str, kind: str, folder: Path, *more: str):
    return harness_here("new-plugin", name, "--kind", kind, *more, cwd=folder)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", TEMPLATES)
def test_what_is_written_conforms(tmp_path, kind):
    name = f"brand_new_{kind}"
    done = new(name, kind, tmp_path, "--into", "there")
    assert done.returncode == 0, done.stderr
    package = tmp_path / "there" / name
    wanted = {"pyproject.toml", "README.md", "spec.yaml", f"src/{name}.py", f"tests/test_{name}.py"}
    assert files(tmp_path / "there") == {f"{name}/{file}" for file in wanted}
    readme = (package / "README.md").read_text()
    commands = ("pip install -e .", f"harness check {TEMPLATES[kind]}/{name}", "harness run spec.yaml")
    assert all(command in readme for command in commands)
    source = package / "src" / f"{name}.py"
    assert max(map(len, source.read_text().split("\n"))) <= 120
    registry = load_plugins([source], load_packages()).registry
    subject = subject_of(f"{TEMPLATES[kind]}/{name}", registry=registry)
    # That it is packed and verified in another folder is seen below, where it is installed.
    checks = [check for check in checks_for(subject.kind, subject.cls) if check.name != "submission"]
    findings = [run_check(check, subject) for check in checks]
    assert [str(finding) for finding in findings if finding.status == "failed"] == []
    from harness.spec.load import load_spec

    assert load_spec(package / "spec.yaml", registry).cells


def load_packages() -> ImportedPackages:
    from harness.registry.package_imports import import_packages

    return import_packages()


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("Hill-Climb", "attack", "'hill_climb' would do"),
        ("HillClimb", "attack", "'hill_climb' would do"),
        ("2fast", "attack", "'fast' would do"),
        ("", "attack", "not a valid plugin name"),
        ("a" * 41, "attack", "at most 40"),
        ("class", "attack", "reserved"),
        ("params", "task", "reserved"),
        ("gcg", "attack", "the attacks already have one called 'gcg', of robustness-harness"),
        ("json", "task", "'json' is the name of a Python module"),
        ("harness", "task", "'harness' is the name of a Python module"),
        ("../up", "task", "not a valid plugin name"),
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
    assert "already exists" in done.stderr
    assert files(tmp_path) == {"mine/notes.txt"}
    (tmp_path / "file").write_text("")
    done = new("other", "attack", tmp_path, "--into", "file")
    assert done.returncode == 2
    assert "--into file" in done.stderr


CHECKED = "attack"  # the kind that `harness check` is tried with; each kind's checks are in its package's own tests

# Commands one after another in one process; what each ended with and printed.
SEVERAL = """
import contextlib, io, json, sys
from harness.cli import main

done = []
for folder, words in json.loads(sys.argv[1]):
    out = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out):
        done.append((main(words), out.getvalue()))
json.dump(done, sys.stdout)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> tuple[Path, Path]:
    """Where there is a new package of each kind, and where all of them are installed."""
    folder = tmp_path_factory.mktemp("outside")
    for kind in TEMPLATES:
        assert new(f"brand_new_{kind}", kind, folder).returncode == 0
    site = folder / "site-packages"
    install(*(folder / f"brand_new_{kind}" for kind in TEMPLATES), site=site)
    return folder, site


def smaller(spec: str) -> str:
    """The same spec in seconds: a victim that knows little, and few examples, are as good here."""
    spec = re.sub(r"- tiny: {size: 26k(.*?)(, steps: 300)?}", r"- tiny: {size: 7k\1, steps: 20}", spec)
    spec = re.sub(r"^examples: \d+", "examples: 6", spec, flags=re.MULTILINE)
    spec = re.sub(r"^clean_examples: \d+", "clean_examples: 20", spec, flags=re.MULTILINE)
    return re.sub(r"{steps: \d+", "{steps: 2", spec)


@pytest.fixture(scope="module")
def used(installed) -> dict[str, list[tuple[int, str]]]:
    """By kind: how running its spec ended, and what it printed; of `CHECKED`, first that of checking it."""
    folder, site = installed
    commands = []
    for kind in TEMPLATES:
        package = folder / f"brand_new_{kind}"
        (package / "spec.yaml").write_text(smaller((package / "spec.yaml").read_text()))
        if kind == CHECKED:
            commands.append((str(package), ["check", f"{TEMPLATES[kind]}/{package.name}", "--json"]))
        run_it = ["run", "spec.yaml", "--quiet", "--store", str(folder / "store"), "--jobs", "0"]
        commands.append((str(package), run_it + ["--site", "site"] * (kind == CHECKED)))
    done = python("-P", "-c", SEVERAL, json.dumps(commands), cwd=folder, site=site)
    assert done.returncode == 0, done.stderr
    ended = iter(map(tuple, json.loads(done.stdout)))
    return {kind: [next(ended) for _ in range(1 + (kind == CHECKED))] for kind in TEMPLATES}


@pytest.mark.slow
def test_installed_from_outside_it_is_checked(used):
    code, said = used[CHECKED][0]
    assert code == 0, said
    findings = json.loads(said)
    assert {finding["plugin"] for finding in findings} == {f"{TEMPLATES[CHECKED]} brand_new_{CHECKED}"}
    assert {finding["status"] for finding in findings} <= {"ok", "skipped"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", TEMPLATES)
def test_installed_from_outside_it_is_run(installed, used, kind):
    assert used[kind][-1][0] == 0
    package = installed[0] / f"brand_new_{kind}"
    cells = [json.loads(path.read_text()) for path in package.glob("runs/*/cells/*/cell.json")]
    assert cells
    assert all(cell["status"] == "done" for cell in cells)
    assert any(cell[TEMPLATES[kind]]["distribution"] == f"harness-brand-new-{kind}" for cell in cells)
    assert (package / "site" / "index.html").exists() == (kind == CHECKED)


@pytest.mark.slow
def test_their_own_tests_pass(installed):
    """One of each sort of plugin; `test_what_is_written_conforms` holds every template against the same checks."""
    folder, site = installed
    kinds = {sort: kind for kind, sort in reversed(TEMPLATES.items())}.values()
    tests = [f"brand_new_{kind}/tests" for kind in kinds]
    done = run("pytest", "-v", "-p", "no:cacheprovider", *tests, cwd=folder, site=site)
    assert done.returncode == 0, done.stdout
    for kind in kinds:
        assert re.search(rf"test_brand_new_{kind}\.py::\S+ PASSED", done.stdout), done.stdout


def test_into_a_package_of_single_modules(tmp_path):
    assert new("first_one", "attack", tmp_path).returncode == 0
    package = tmp_path / "first_one"
    before = files(package)
    done = new("second_one", "vote", tmp_path, "--into-package", "first_one")
    assert done.returncode == 0, done.stderr
    assert files(package) - before == {"src/second_one.py", "tests/test_second_one.py", "spec_second_one.yaml"}
    described = tomllib.loads((package / "pyproject.toml").read_text())
    assert described["project"]["entry-points"]["harness"] == {"second_one": "second_one", "first_one": "first_one"}
    assert set(described["tool"]["setuptools"]["py-modules"]) == {"first_one", "second_one"}
    assert "harness check defense/second_one\nharness run spec_second_one.yaml" in done.stdout
    again = new("second_one", "task", tmp_path, "--into-package", "first_one")
    assert again.returncode == 2
    assert "already exists" in again.stderr


def test_into_a_package_with_folders(tmp_path):
    shutil.copytree(Path(__file__).parent / "outside", tmp_path / "outside")
    done = new("second_one", "transform", tmp_path, "--into-package", "outside")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "outside/src/harness_outside/second_one.py").is_file()
    described = tomllib.loads((tmp_path / "outside/pyproject.toml").read_text())
    assert described["project"]["entry-points"]["harness"]["second_one"] == "harness_outside.second_one"
    assert (
        "from harness_outside.second_one import SecondOne"
        in (tmp_path / "outside/tests/test_second_one.py").read_text()
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "has no pyproject.toml, so it is not a package; give the folder of a package with plugins"),
        ("[project\n", "pyproject.toml cannot be read"),
        ("[project]\nname = 'x'\n", "it names none"),
        ("[project.entry-points]\nharness = {here = 'here'}\n", "is written in another form"),
        ("[project.entry-points.harness]\nsecond_one = 'here'\n", "has that name"),
        ("[project.entry-points.harness]\ngone = 'gone'\n", "is in src/ or next to it (gone)"),
    ],
)
def test_packages_that_cannot_be_written_into(tmp_path, text, words):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "here.py").write_text("")
    if text is not None:
        (tmp_path / "pyproject.toml").write_text(text)
    before = files(tmp_path)
    done = new("second_one", "attack", tmp_path, "--into-package", ".")
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())
    assert files(tmp_path) == before


@pytest.mark.slow
def test_what_was_written_into_a_package_is_installed_with_it(tmp_path):
    shutil.copytree(Path(__file__).parent / "outside", tmp_path / "outside")
    assert new("second_one", "transform", tmp_path, "--into-package", "outside").returncode == 0
    install(tmp_path / "outside", site=tmp_path / "site")
    for name in ("defense/second_one", "defense/lower_case"):
        done = run("harness", "check", name, cwd=tmp_path, site=tmp_path / "site")
        assert done.returncode == 0, done.stdout + done.stderr
