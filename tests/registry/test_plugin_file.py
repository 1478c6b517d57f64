"""A plugin in a file, named on the command line."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from harness.errors import PluginError
from harness.registry.loader import load_plugins
from harness.registry.package_imports import ImportedPackages
from tests.registry.outside import attack, harness, plugins

pytestmark = pytest.mark.slow  # starts many processes


def load(*files: Path) -> list[tuple[str, str, str]]:
    loaded = load_plugins(files, ImportedPackages())
    return [(entry.name, entry.distribution, entry.version) for entry in loaded.registry.entries()]


def test_a_file_is_a_distribution_whose_version_is_its_hash(tmp_path: Path) -> None:
    file = tmp_path / "my attack.py"
    file.write_text(attack())
    assert load(file, file) == [("outside", "file:my attack.py", hashlib.sha256(file.read_bytes()).hexdigest()[:12])]
    before = load(file)
    file.write_text(attack() + "\n# changed\n")
    assert load(file) != before
    assert not list(tmp_path.glob("__pycache__"))


def test_on_the_command_line_before_and_after_the_command(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(attack("one", "One"))
    (tmp_path / "two.py").write_text(attack("two", "Two"))
    assert {"attack/one", "attack/two"} <= plugins("--plugin", "one.py", "--plugin=two.py", cwd=tmp_path)[0].keys()
    done = harness("plugins", "one", "--plugin", "one.py", cwd=tmp_path)
    assert "file:one.py" in done.stdout
    assert "steps" in done.stdout


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (None, "No such file"),
        ("def f(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit", "SystemExit"),
        ("x = 1", "no function marked with @hookimpl"),
        (attack(name=""), 'it has no name; add `name = "outside"`'),
        (
            "from harness import hookimpl\n@hookimpl\ndef harness_plugin_modules():\n    return ['json']",
            "a file holds its own plugins",
        ),
        (
            attack() + "\n@hookimpl\ndef harness_results_version():\n    return '1'",
            "a file is known by its hash",
        ),
    ],
)
def test_what_is_wrong_with_a_file_ends_the_command(tmp_path: Path, source: str | None, words: str) -> None:
    file = tmp_path / "mine.py"
    if source is not None:
        file.write_text(source)
    with pytest.raises(PluginError) as caught:
        load(file)
    assert "mine.py" in str(caught.value)
    assert words in str(caught.value)


def test_two_files_with_one_name(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(attack())
    (tmp_path / "b.py").write_text(attack(summary="Another."))
    with pytest.raises(PluginError, match=r"two attacks are called 'outside': .*file:a\.py.*file:b\.py"):
        load(tmp_path / "a.py", tmp_path / "b.py")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    done = harness("--plugin", str(tmp_path), "plugins")
    assert done.returncode == 2
    assert "this is a folder" in done.stderr
    assert "Traceback" not in done.stderr
