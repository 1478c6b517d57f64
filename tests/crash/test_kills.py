"""Kills at random moments; ``python -m tests.crash`` does a hundred, ``--crashes N`` as many as asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.campaign import Campaign, Result
from tests.crash.kills import ALL, DRIVER, ENGINE, WORKER
from tests.crash.table import table
from tests.crash.watched import ATTACKING, Watched


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_a_kill_at_any_moment_loses_nothing(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    campaign = Campaign(tmp_path, steps=6, targets=(ALL, DRIVER, WORKER))
    for number in range(request.config.getoption("--crashes", default=3)):
        result = campaign.one(number)
        assert result.wrong == ""
        assert result.left == []
        assert result.again <= 1, "the round in hand"
    assert any(result.doing for result in campaign.results), "somebody was killed"


def test_rounds_done_again_are_those_of_one_search(tmp_path: Path) -> None:
    told = tmp_path / "watched"
    watched = Watched(told)
    watched.look()
    assert watched.again() == 0
    told.write_text("1.0 round a 1\n1.1 round b 1\n1.2 round a 2\n2.0 round a 2\n2.1 round b 1\n2.2 round a 3\n2.3 rou")
    watched.look()
    assert watched.again() == 1, "one of a's and one of b's"
    with told.open("a") as file:
        file.write("nd a 3\n")
    watched.look()
    assert watched.again() == 2


def test_the_table_counts_each_sort_of_victim() -> None:
    def result(target: str, number: int, **more: object) -> Result:
        facts = {"jobs": 1 + number % 2, "doing": ATTACKING, "engine": "", "again": 1, "left": [], "wrong": ""} | more
        return Result(number=number, target=target, **facts)  # type: ignore[arg-type]

    results = [result(ALL, 0), result(ALL, 1, wrong="a record is missing"), result(WORKER, 2, doing="", left=["x"])]
    results.append(result(ENGINE, 3, engine="idle", doing="training"))
    text = table(results, "")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    assert rows[2:] == [
        [ALL, "2", "0", "0", "2", "1", "1", "1"],
        [ENGINE, "1", "0", "1", "0", "1", "-", "0"],
    ]
    assert "1 times while idle" in text
    assert "left in all of them: 1." in text
    assert "killed: 1." in text
    assert "was not killed: it is not there." in table(results[:2], "it is not there")
