"""Whatever plugins' generators yield, return or raise, it is taken in one place and told with who and where."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import pytest
from hypothesis import given, strategies as st

from harness.engine.generators import call_plugin, run_generators
from harness.errors import DataError, PluginError


def counting(requests: int, name: str) -> Generator[Any, Any, Any]:
    """Asks so often, and returns what it was answered."""
    answers = []
    for number in range(requests):
        answers.append((yield name, number))
    return answers


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 6), max_size=6), st.integers(1, 7))
def test_each_gets_the_answers_to_its_own_requests(sizes: dict[str, int], most: int) -> None:
    """A generator whose request stays unanswered is given up, and the others are none the wiser."""
    rounds: list[list[Any]] = []

    def answer(requests: dict[str, Any]) -> dict[str, Any]:
        rounds.append(list(requests))
        return {name: ("answer", *request) for name, request in requests.items() if request[1] < most}

    calls = {name: (name, partial(counting, size, name)) for name, size in sizes.items()}
    returned = run_generators(calls, answer)
    assert returned == {
        name: [("answer", name, number) for number in range(size)] for name, size in sizes.items() if size <= most
    }
    assert rounds == [
        [name for name, size in sizes.items() if size > number]
        for number in range(min(most + 1, max(sizes.values(), default=0)))
    ], "requests of a round come together, in order"


def run(method: Callable[[], Any]) -> Any:
    """What one generator returns to whom every request is answered with None."""
    return run_generators({0: ("judge x, example 7", method)}, dict.fromkeys)[0]


def raising(error: Exception) -> Generator[Any, Any, Any]:
    yield 1
    raise error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("no luck"), "judge x, example 7: raised ValueError: no luck"),
        (KeyError("b"), "judge x, example 7: raised KeyError: 'b'"),
        (DataError("two.csv: no column b"), "judge x, example 7: two.csv: no column b"),
    ],
)
def test_what_is_raised_is_told_with_where(error: Exception, words: str) -> None:
    with pytest.raises(PluginError) as caught:
        run(partial(raising, error))
    assert str(caught.value) == words
    assert caught.value.__cause__ is error


def division() -> Any:
    return 1 / 0


def stops() -> Any:
    return next(iter(()))


@pytest.mark.parametrize(("method", "name"), [(division, "ZeroDivisionError"), (stops, "StopIteration")])
def test_a_method_that_raises_at_once(method: Callable[[], Any], name: str) -> None:
    with pytest.raises(PluginError, match=f"judge x, example 7: raised {name}"):
        run(method)
    with pytest.raises(PluginError, match=f"attack x: raised {name}"):
        call_plugin("attack x", method)


def test_a_method_that_is_no_generator() -> None:
    with pytest.raises(PluginError, match="judge x, example 7: returned bool; it must be a generator"):
        run(lambda: True)


def leaving() -> Generator[Any, Any, Any]:
    yield 1
    raise KeyboardInterrupt


def test_what_ends_a_process_is_not_caught() -> None:
    with pytest.raises(KeyboardInterrupt):
        run(leaving)
