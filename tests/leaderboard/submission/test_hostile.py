"""A corpus of hostile files: each is refused, with the reason that is the right one, and without a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from leaderboard.submission.file_format.errors import RefusedError
from leaderboard.submission.verification.inspection import inspect_submission
from tests.leaderboard.submission.forge import Parts, forged
from tests.leaderboard.submission.hostile import CONTAINERS, JSON, Make
from tests.leaderboard.submission.hostile_claims import CLAIMS
from tests.leaderboard.submission.hostile_table import ROWS, TABLES

CORPUS = CONTAINERS | JSON | TABLES | ROWS | CLAIMS


def test_the_corpus_is_of_some_size() -> None:
    assert len(CORPUS) == sum(map(len, (CONTAINERS, JSON, TABLES, ROWS, CLAIMS))) > 100  # no name twice


def test_the_forger_leaves_a_valid_file_valid(parts: Parts, tmp_path: Path) -> None:
    found = inspect_submission(forged(parts, tmp_path / "valid.zip"))
    assert (found.problems, found.cells) == ([], 2)


@pytest.mark.parametrize("name", CORPUS)
def test_refused(name: str, parts: Parts, tmp_path: Path) -> None:
    make, reason = CORPUS[name]
    refused(make, reason, parts, tmp_path / "hostile.zip")


def refused(make: Make, reason: str, parts: Parts, path: Path) -> None:
    make(parts, path)
    with pytest.raises(RefusedError, match=reason) if reason else pytest.raises(RefusedError) as caught:
        found = inspect_submission(path)
        raise RefusedError("; ".join(found.problems) or "taken for valid")
    said = str(caught.value)
    assert len(said.splitlines()) == 1
    assert said.isprintable()  # nothing of the file drives the terminal
