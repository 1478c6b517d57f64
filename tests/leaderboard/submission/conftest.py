"""One valid submission for all tests of a module."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.leaderboard.submission.forge import Parts, pack_fast, parts_of


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A valid submission; ``run`` next to it is the run it was made of, ``fast.yaml`` its spec."""
    return pack_fast(tmp_path_factory.mktemp("packed"))


@pytest.fixture(scope="session")
def parts(packed: Path) -> Parts:
    """Its members."""
    return parts_of(packed)
