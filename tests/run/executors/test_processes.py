"""Which victim a process takes next: one that need not wait for what another process is making."""

from __future__ import annotations

import pytest

from harness.run.executors.processes import choose_group


@pytest.mark.parametrize(
    ("waiting", "begun", "made", "chosen"),
    [
        ([], set(), set(), 0),
        ([{"text 3m", "3m seed 1"}, {"text 7k", "7k seed 0"}], set(), set(), 0),
        ([{"text 3m", "3m seed 1"}, {"text 7k", "7k seed 0"}], {"text 3m", "3m seed 0"}, set(), 1),
        ([{"text 3m", "3m seed 1"}, {"text 7k", "7k seed 0"}], {"text 3m", "3m seed 0"}, {"text 3m"}, 0),
        ([{"text 3m", "3m seed 1"}, {"text 3m", "3m seed 2"}], {"text 3m", "3m seed 0"}, set(), 0),
        ([{"judge", "a"}, {"b"}], {"judge", "c"}, {"c"}, 1),
    ],
)
def test_nobody_waits_while_there_is_something_to_do(
    waiting: list[set[str]], begun: set[str], made: set[str], chosen: int
) -> None:
    asked: list[str] = []

    def is_made(key: str) -> bool:
        asked.append(key)
        return key in made

    assert choose_group(waiting, begun, is_made) == chosen
    assert set(asked) <= begun & set().union(*waiting)  # a store far away is asked for nothing else
