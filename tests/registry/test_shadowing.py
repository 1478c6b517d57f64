"""A user's own folders with the names of ours neither break the built-ins nor replace them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.registry.outside import attack, harness_anew, make_distribution, plugins, python

pytestmark = pytest.mark.slow  # starts many processes

FOREIGN = {
    "package that raises": {"plugins/__init__.py": "raise RuntimeError('foreign')", "leaderboard/__init__.py": "1 / 0"},
    "folder without init": {"plugins/attacks/gcg.py": "1 / 0", "leaderboard/notes.txt": ""},
    "modules": {"plugins.py": "raise RuntimeError('foreign')", "leaderboard.py": "1 / 0"},
    "same layout": {"plugins/__init__.py": "", "plugins/attacks/__init__.py": "", "plugins/attacks/gcg.py": "1 / 0"},
}


@pytest.fixture(params=FOREIGN)
def workplace(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    for file, source in FOREIGN[request.param].items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(source)
    return tmp_path


@pytest.fixture(scope="module")
def ours() -> subprocess.CompletedProcess[str]:
    """What is listed where there is nothing foreign."""
    return harness_anew("plugins", cwd=Path(__file__).parent)


def test_in_the_working_directory(workplace: Path, ours: subprocess.CompletedProcess[str]) -> None:
    for done in (
        harness_anew("plugins", cwd=workplace),
        harness_anew("plugins", cwd=workplace, PYTHONPATH="."),
        python("-m", "harness", "plugins", cwd=workplace),
    ):
        assert (done.returncode, done.stdout, done.stderr) == (0, ours.stdout, ours.stderr)


def test_imported_before_ours(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "__init__.py").write_text("mine = 1")
    (tmp_path / "plugins" / "other.py").write_text("mine = 2")
    script = (
        "import plugins, plugins.other; mine = plugins\n"
        "from harness.registry.loader import load_plugins\n"
        "loaded = load_plugins(); cls = loaded.registry.get('attack', 'gcg').cls\n"
        "print(cls.__module__, mine.mine, mine.other.mine)\n"
        "print(*[p.cause for p in loaded.problems if 'replaced' in p.cause])"
    )
    done = python("-c", script, site=tmp_path, cwd=tmp_path)
    assert done.stdout.splitlines()[0] == "plugins.attacks.gcg 1 2", done.stderr
    assert str(tmp_path / "plugins" / "__init__.py") in done.stdout


def test_another_distribution_that_brings_a_module_of_the_same_name(tmp_path: Path) -> None:
    make_distribution(tmp_path, "copycat", {"plugins.py": attack()})
    listed, said = plugins(site=tmp_path, run=harness_anew)
    assert "attack/gcg" in listed
    assert (
        "plugin package copycat 1.2.3: its module 'plugins' has the same name as one that robustness-harness brings"
        in said
    )
