"""What every test of the engine needs."""

from __future__ import annotations

import pytest

from harness.engine.torch.memory import chunks


@pytest.fixture(autouse=True)
def nothing_learnt() -> None:
    """No test begins with what memory allowed in another one."""
    chunks.forget_limits()
