"""The sample package, installed from outside, is checked by the kit: by its own tests, and on the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.kit.test_tutorial import install, run

PACKAGE = Path(__file__).parent / "outside"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    work = tmp_path_factory.mktemp("outside")
    shutil.copytree(PACKAGE, work / "outside")  # pip builds inside the source folder
    install(work / "outside", site=work / "site")
    return work / "outside", work / "site"


@pytest.mark.slow
def test_its_own_tests_pass(installed):
    package, site = installed
    done = run("pytest", "-q", "-rs", "-p", "no:cacheprovider", "tests", cwd=package, site=site)
    assert done.returncode == 0, done.stdout
    assert "failed" not in done.stdout


@pytest.mark.slow
def test_the_command(installed, tmp_path):
    _, site = installed
    done = run("harness", "check", "hill_climb", "--params", "{tries: 4}", "--json", cwd=tmp_path, site=site)
    assert done.returncode == 0, done.stdout + done.stderr
    findings = json.loads(done.stdout)
    assert {finding["plugin"] for finding in findings} == {"attack hill_climb"}
    assert {finding["status"] for finding in findings} == {"ok"}
