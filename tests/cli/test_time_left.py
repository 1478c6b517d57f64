"""What a run says of the time that is left."""

from __future__ import annotations

import pytest

from harness.cli.console.time_left import TimeLeft


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


PLAN = {"prepare a": 20.0} | {f"attack {cell}": 10.0 for cell in range(8)}


def follow(time_left: TimeLeft, clock: Clock, plan: dict[str, float], slower: float) -> list[tuple[float, float]]:
    """One worker does a plan, each piece in ten parts, so many times slower: what was said was left, and what was."""
    total = sum(plan.values()) * slower
    said = []
    for what, seconds in plan.items():
        time_left.stage(0, what)
        for part in range(10):
            clock.now += seconds * slower / 10
            time_left.progress(0, (part + 1) / 10)
            left = time_left.seconds()
            assert left is not None
            said.append((left, total - clock.now))
        if what.startswith("attack "):
            time_left.cell_done(0, what.removeprefix("attack "))
    return said


@pytest.mark.parametrize("slower", [0.2, 1.0, 5.0, 50.0])
def test_a_plan_that_is_wrong_is_corrected_by_what_was_done(slower: float) -> None:
    clock = Clock()
    time_left = TimeLeft(8, PLAN, clock=clock)
    assert time_left.seconds() == pytest.approx(100.0), "the plan's word, before anything is done"
    said = follow(time_left, clock, PLAN, slower)
    for told, true in said[len(said) // 2 :]:
        assert told == pytest.approx(true, rel=0.35, abs=1e-6)
    assert time_left.seconds() == 0.0


def test_the_start_of_workers_is_no_measure_and_two_share() -> None:
    clock = Clock()
    time_left = TimeLeft(8, PLAN, workers=2, clock=clock)
    time_left.stage(0, "start a worker")
    clock.now = 10.0
    assert time_left.seconds() == pytest.approx(50.0)
    for worker in (0, 1):
        time_left.stage(worker, f"attack {worker}")
    clock.now = 20.0
    for worker in (0, 1):
        time_left.cell_done(worker, str(worker))
    assert time_left.seconds() == pytest.approx(80 / 2), "as planned so far"


def test_cells_count_alike_where_no_plan_tells() -> None:
    clock = Clock()
    time_left = TimeLeft(3, {}, clock=clock)
    time_left.stage(0, "attack a")
    clock.now = 30.0
    assert time_left.seconds() is None
    time_left.cell_done(0, "a")
    assert time_left.seconds() == 60.0
    unknown = TimeLeft(3, dict.fromkeys(["attack a", "attack b", "attack c"]), clock=clock)
    assert unknown.seconds() is None
    unknown.stage(0, "attack a")
    unknown.progress(0, 0.5)
    clock.now += 5.0
    assert unknown.seconds() == pytest.approx(25.0)


def test_what_needs_not_be_done_is_not_left() -> None:
    clock = Clock()
    time_left = TimeLeft(2, {"prepare a": 1e6, "attack a": 1.0, "attack b": 1.0}, clock=clock)
    clock.now = 1.0
    time_left.cell_done(0, "a")  # skipped or failed before its attack
    assert (time_left.seconds() or 0.0) > 0
    time_left.cell_done(0, "b")
    assert time_left.seconds() == 0.0
