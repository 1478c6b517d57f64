"""Shared by all tests."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _same_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own switches do not change what the tests see."""
    for name in ("HARNESS_DISABLE_PLUGINS", "HARNESS_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)
