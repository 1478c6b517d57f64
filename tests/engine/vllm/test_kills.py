"""vLLM's process, killed at random moments of runs: the crash campaign's runs of it, a few of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.campaign import Campaign
from tests.crash.kills import ENGINE

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(0)]


def test_a_run_goes_on_by_itself_and_loses_nothing(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    campaign = Campaign(tmp_path, targets=(ENGINE,))
    for number in range(request.config.getoption("--crashes", default=3)):
        result = campaign.one(number)
        assert result.wrong == ""
        assert result.left == []
        assert result.again == 0, "the worker, which asks again, has lost nothing"
    assert any(result.engine for result in campaign.results), "an engine was killed"
