"""The pytest plugin: one test per promise, words for what is wrong, and no weight for those who do not use it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import LONGEST

GOOD = """
from harness import Judge
from harness.testing import conforms

class Words(Judge):
    '''The label wanted.'''
    name = "words"

    def success(self, example, answer):
        return answer.label == example.proxy_label

class Beyond(Words):
    '''Nothing.'''
    def success(self, example, answer):
        raise ValueError("no luck")
"""


def pytest_run(folder: Path, source: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(source)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=LONGEST)


@pytest.mark.slow
def test_a_test_per_promise(tmp_path):
    test = "@conforms(Words, skip=['blocked'])\ndef test_words(conformance):\n    conformance()\n"
    done = pytest_run(tmp_path, GOOD + test, "-vv", "--strict-markers")
    assert done.returncode == 0, done.stdout
    assert "test_words[deterministic] PASSED" in done.stdout
    assert "test_words[unparseable] SKIPPED" in done.stdout
    assert "test_words[blocked]" not in done.stdout


@pytest.mark.slow
def test_what_is_wrong_is_said(tmp_path):
    test = "@conforms(Beyond)\ndef test_words(conformance):\n    conformance()\n"
    done = pytest_run(tmp_path, GOOD + test)
    assert done.returncode == 1
    assert "expected: every answer gets a proper verdict" in done.stdout
    assert "raised ValueError: no luck" in done.stdout
    assert "fix: " in done.stdout


@pytest.mark.slow
def test_a_mark_that_is_missing_or_wrong_is_explained(tmp_path):
    done = pytest_run(tmp_path, "def test_words(conformance):\n    conformance()\n")
    assert done.returncode != 0
    assert "the fixture `conformance` needs a plugin; write @conforms(TheClass" in done.stdout + done.stderr
    mark = "from harness.testing import conforms\n@conforms('gcgg')\ndef test_words(conformance):\n    conformance()\n"
    done = pytest_run(tmp_path, mark)
    assert "no plugin is called 'gcgg'" in done.stdout + done.stderr


def test_other_test_runs_pay_nothing(tmp_path):
    heavy = {"torch", "numpy", "pydantic", "pluggy._harness", "harness.api.attack"}
    script = f"import sys\ndef test_it():\n    heavy = {heavy}\n"
    done = pytest_run(tmp_path, script + "    assert not heavy & set(sys.modules)\n", "-p", "no:hypothesispytest")
    assert done.returncode == 0, done.stdout
