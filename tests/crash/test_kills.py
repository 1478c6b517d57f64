"""Kills at random moments; ``python -m tests.crash`` does a hundred, ``--crashes N`` as many as asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.campaign import Campaign

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]


def test_a_kill_at_any_moment_loses_nothing(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    campaign = Campaign(tmp_path)
    campaign.begin()
    for number in range(request.config.getoption("--crashes", default=6)):
        campaign.one(number)
    assert sum(campaign.kills.values()) > 0
    assert sum(campaign.lost.values()) == 0
    assert campaign.torn == 0
