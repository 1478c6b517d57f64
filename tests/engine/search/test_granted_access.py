"""An attack sees the access that it was granted, and can ask for more where there is more."""

from __future__ import annotations

from typing import Any

import pytest

from harness.api.attack import Attack
from harness.api.requests import Gradient, Score
from harness.engine.search.on_examples import search_on_examples
from harness.testing.toys.backend import ToyBackend
from harness.testing.toys.examples import ordinary, toy_threat
from harness.testing.toys.task_data import toy_task_data


class TakesWhatThereIs(Attack):
    """Takes the best of a gradient where it may have one, else of a few random strings."""

    name = "takes_what_there_is"
    access = "scores"

    def start(self, problem: Any, rng: Any) -> Any:
        return problem.state(problem.random_tokens(rng))

    def step(self, state: Any, problem: Any, rng: Any) -> Any:
        if problem.grants("gradient"):
            answer = yield Gradient(state.array, 1)
            return problem.state(answer.tokens[:, 0])
        rows = problem.random_tokens(rng, 3)
        return state.best(rows, (yield Score(rows)))


@pytest.mark.parametrize(("granted", "queries"), [("scores", 3), ("gradient", 1)])
def test_what_is_granted_decides_what_is_asked(granted: Any, queries: int) -> None:
    case = ordinary("labels", granted)
    assert {problem.access for problem in case.problems()} == {granted}
    rows = case.search(TakesWhatThereIs(TakesWhatThereIs.Params(steps=2)), granted).run(case.problems()).rows
    assert {row.queries for row in rows} == {queries}


def test_whoever_trains_the_weights_may_look_at_all_of_them() -> None:
    data = toy_task_data("labels")
    found = search_on_examples(
        TakesWhatThereIs(TakesWhatThereIs.Params(steps=1)),
        data.train[:2],
        ToyBackend(context=8192),
        data,
        toy_threat("scores", tokens=3),
        ("a", "b"),
    )
    assert {row.queries for row in found.rows} == {1}


def test_text_access_grants_neither() -> None:
    (problem, *_) = ordinary("labels", "text").problems()
    assert [problem.grants(access) for access in ("text", "scores", "gradient", "latent")] == [
        True,
        False,
        False,
        False,
    ]
