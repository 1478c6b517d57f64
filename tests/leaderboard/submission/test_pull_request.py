"""A pull request with entries: each that is new or changed is verified, and a bad one fails the check."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.leaderboard.submission.given import BREAKING, write_strings
from tests.run.runs import FROM_FILES, harness_here

ROOT = Path(__file__).parents[3]
GIT = {f"GIT_{who}_{what}": "tests@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


class PullRequest:
    """A repository with a branch that adds entries to another."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "repository"
        (self.root / ".ci").mkdir(parents=True)
        (self.root / ".ci" / "verify_entries").write_text((ROOT / ".ci" / "verify_entries").read_text())
        (folder / "bin").mkdir()
        script = folder / "bin" / "harness"
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m harness {" ".join(FROM_FILES)} "$@"\n')
        script.chmod(0o755)
        self.environment = os.environ | GIT | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
        self.git("init", "-q", "-b", "main")
        self.commit()
        self.git("checkout", "-q", "-b", "entry")

    def git(self, *words: str) -> None:
        subprocess.run(["git", *words], cwd=self.root, env=self.environment, check=True)

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "as it is")

    def check(self) -> tuple[int, str]:
        words = ["bash", ".ci/verify_entries", "main"]
        done = subprocess.run(words, cwd=self.root, env=self.environment, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_entries_of_a_pull_request_are_verified(packed: Path, tmp_path: Path) -> None:
    request = PullRequest(tmp_path)
    assert request.check() == (0, "no entry or claim is added or changed\n")
    entries = request.root / "leaderboard" / "entries"
    added = harness_here(*FROM_FILES, "leaderboard", "add", packed, "--entries", entries, cwd=tmp_path)
    assert added.returncode == 0, added.stdout + added.stderr
    (entry,) = entries.glob("*.json")
    request.commit()
    status, said = request.check()
    assert status == 0, said
    assert said.startswith(f"== leaderboard/entries/{entry.name}\n")
    assert said.count("== ") == 1, "its two files are one entry"

    claims = request.root / "leaderboard" / "claims"
    strings, store = write_strings(tmp_path / "strings.csv", BREAKING), packed.parent / "run" / "artifacts"
    of_board = ("--spec", packed.parent / "fast.yaml", "--store", store, "--claims", claims)
    words = ("claim", entry, strings, "--by", "Roe", *of_board)
    claimed = harness_here(*FROM_FILES, "leaderboard", *words, cwd=tmp_path)
    assert claimed.returncode == 0, claimed.stderr
    (claim,) = claims.glob("*.json")
    request.commit()
    status, said = request.check()
    assert status == 0, said
    assert f"== leaderboard/claims/{claim.name}\n" in said
    claim.unlink()
    claim.with_suffix(".parquet").unlink()

    table = entry.with_suffix(".parquet")
    whole = table.read_bytes()
    table.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    request.commit()
    status, said = request.check()
    assert status == 1
    assert "Not verified." in said

    table.unlink()
    entry.unlink()
    request.commit()
    assert request.check() == (0, "no entry or claim is added or changed\n")

    (verified := request.root / "leaderboard" / "verified").mkdir(parents=True)
    (verified / "said.json").write_text("{}")
    request.commit()
    status, said = request.check()
    assert status == 1
    assert "leave it out of a pull request" in said
