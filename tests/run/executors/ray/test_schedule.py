"""Which cell comes next: laws that hold for any cells, any workers and any losses."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, cast

from hypothesis import given, strategies as st

from harness.run.executors.ray.schedule import Schedule, ScheduledCell
from harness.spec.cells import CellSpec
from harness.spec.resources import Resources

SHAPES = [Resources(1), Resources(2, 1.0)]


@dataclass
class Stub:
    """Of a cell only what it is given."""

    resources: Resources


def task(key: str, needs: tuple[str, ...], shape: int = 0) -> ScheduledCell:
    return ScheduledCell(key, cast(CellSpec, cast(Any, Stub(SHAPES[shape]))), 0, needs, needs[-1] if needs else "")


@st.composite
def tasks(draw: st.DrawFn) -> list[ScheduledCell]:
    made = []
    for number in range(draw(st.integers(1, 12))):
        victim, rounds = draw(st.integers(0, 2)), draw(st.integers(0, 3))
        needs = tuple(f"{victim}:{round}" for round in range(rounds + 1))
        made.append(task(str(number), needs, victim % 2))
    return made


@given(tasks(), st.integers(1, 4), st.integers(0, 2**32))
def test_all_are_done_once_and_nothing_is_made_twice_at_a_time(
    given_tasks: list[ScheduledCell], workers: int, seed: int
) -> None:
    rng = random.Random(seed)
    there: set[str] = set()
    schedule = Schedule(given_tasks, there.__contains__)
    done: list[str] = []
    running: dict[str, list[str]] = {}  # a task, and what it has still to make
    while schedule.waiting or running:
        for shape in SHAPES:
            while len(running) < workers and (found := schedule.next(shape)):
                missing = [need for need in found.artifacts if need not in there]
                assert not set(missing) & {need for own in running.values() for need in own}
                running[found.key] = missing
        assert running, "nobody can go on"
        key = rng.choice(sorted(running))
        if rng.random() < 0.2:
            del running[key]
            schedule.requeue(key)
        elif running[key]:
            there.add(made := running[key].pop(0))
            schedule.artifact_is_there(made)
        else:
            del running[key]
            schedule.end(key)
            done.append(key)
    assert sorted(done) == sorted(one.key for one in given_tasks)


def test_a_worker_gets_cells_of_the_model_that_it_has_open() -> None:
    schedule = Schedule([task("a", ("x",)), task("b", ("y",)), task("c", ("y",))], lambda _: True)
    found = schedule.next(SHAPES[0], "y")
    assert found is not None
    assert found.key == "b"


def test_what_was_cut_off_comes_next() -> None:
    schedule = Schedule([task("a", ("x",)), task("b", ("y",))], lambda _: True)
    first = schedule.next(SHAPES[0])
    assert first is not None
    schedule.requeue(first.key)
    assert schedule.next(SHAPES[0]) is first


def test_ready_counts_what_can_be_begun_together() -> None:
    all_missing = Schedule([task("a", ("x",)), task("b", ("x",)), task("c", ("y",))], lambda _: False)
    assert all_missing.count_ready(SHAPES[0]) == 2
    assert all_missing.count_ready(SHAPES[1]) == 0
    assert Schedule([task("a", ("x",)), task("b", ("x",))], lambda _: True).count_ready(SHAPES[0]) == 2
