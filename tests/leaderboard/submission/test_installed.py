"""An installed package holds the released specs, knows them by name, and holds submissions against them."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.registry.loader import load_plugins
from harness.replay.by_spec.shipped_specs import shipped_spec
from tests.registry.outside import python
from tests.source_copy import copy_sources

PROGRAM = """
from harness.registry.loader import load_plugins
from harness.replay.by_spec.shipped_specs import SHIPPED, shipped_spec
found = shipped_spec("quickstart", "1", load_plugins().registry)
print(SHIPPED, found.hash, found.path, sep="\\n")
from harness.cli import main
assert main(["validate", "chat_smollm2", "--spec-only"]) == 0  # a file of prompts lies beside it
for name in ("study/spam", "chat/jbb@1", "defenses/spam", "defenses"):
    assert main(["validate", name, "--spec-only"]) == 0
assert shipped_spec("study/word_length", "1", load_plugins().registry).path.parent.name == "study"
"""


@pytest.mark.slow
def test_shipped_specs_are_installed(tmp_path: Path) -> None:
    source, site = copy_sources(tmp_path / "source"), tmp_path / "site"
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(site)]
    done = python("-P", "-m", "pip", "install", *options, str(source), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not (site / "specs").exists(), "the specs take no import name of their own"
    (tmp_path / "empty").mkdir()
    there = python("-P", "-c", PROGRAM, cwd=tmp_path / "empty", site=site)
    assert there.returncode == 0, there.stderr
    folder, spec_hash, path = there.stdout.split("\n")[:3]
    assert Path(folder).is_relative_to(site)
    assert Path(path).is_relative_to(site)
    here = shipped_spec("quickstart", "1", load_plugins().registry)
    assert here is not None
    assert spec_hash == here.hash
