"""Rounds in turns, and a clock that splits an iteration without losing or counting anything twice."""

from __future__ import annotations

import time

import numpy as np
import pytest

from harness.api.attack import Attack
from harness.api.problem.placement import allowed_tokens, place
from harness.api.requests import Gradient, Score
from harness.api.threat import Threat
from harness.bench import timers
from harness.bench.alternation import alternate, median_ratio
from harness.bench.attack_iteration import PARTS
from harness.bench.timers import Clock, timed_attack, timed_backend, timed_problem
from harness.engine.defended.victim import DefendedVictim
from harness.tokens.survival import StringInPrompt
from tests.engine.toy import ToyBackend, searching, toy_examples, toy_tokenizer


class Hours:
    """Time that passes only in naps, so that what is measured is known exactly."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def nap(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def hours(monkeypatch: pytest.MonkeyPatch) -> Hours:
    made = Hours()
    monkeypatch.setattr(timers, "time", made)
    return made


def test_everything_is_timed_once_per_round_in_turns_and_the_first_does_not_count() -> None:
    calls: list[tuple[str, int]] = []

    def one(name: str):
        def call(number: int) -> float:
            calls.append((name, number))
            return 10.0 * number + len(name)

        return call

    seen: list[tuple[str, float, float]] = []
    found = alternate({"a": one("a"), "bb": one("bb")}, 2, lambda *step: seen.append(step))
    assert calls == [("a", 0), ("bb", 0), ("a", 1), ("bb", 1), ("a", 2), ("bb", 2)]
    assert found == {"a": [11.0, 21.0], "bb": [12.0, 22.0]}
    assert [done for _, done, _ in seen] == [0, 1, 2, 3, 4, 5, 6]
    assert {total for _, _, total in seen} == {6}


def test_a_ratio_is_of_the_same_round() -> None:
    # The machine was ten times slower in the last round: that is no reason to think either side slower.
    assert median_ratio([2.0, 2.0, 20.0], [1.0, 1.0, 10.0]) == 2.0


class Slow(ToyBackend):
    """Takes a nap before each answer."""

    hours: Hours

    def score(self, items):
        self.hours.nap(5.0)
        return super().score(items)

    def gradient(self, items):
        self.hours.nap(7.0)
        return super().gradient(items)


class Sleepy(Attack):
    """Draws, with a nap, after a gradient."""

    name = "sleepy"
    access = "gradient"
    hours: Hours

    def start(self, problem, rng):
        return problem.state(problem.random_tokens(rng))

    def step(self, state, problem, rng):
        yield Gradient(state.array, top=4)
        self.hours.nap(2.0)
        drawn = rng.choice(problem.allowed, size=(7, problem.budget))
        problem.survives(drawn)
        losses = yield Score(drawn)
        return state.latest(drawn, losses)


def test_an_iteration_is_split_into_its_parts(hours: Hours, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, tokenizer = Clock(), toy_tokenizer()
    threat, allowed = Threat(tokens=3), allowed_tokens(toy_tokenizer())
    placed = [place(example, threat, tokenizer, allowed) for example in toy_examples(2)]
    backend, attack = Slow(tokenizer), Sleepy(Sleepy.Params(steps=2))
    backend.hours = attack.hours = hours
    plain = searching(DefendedVictim(backend), attack, ("test",), "gradient")
    before = plain.run(placed).rows

    timed = timed_attack(attack, clock)
    assert (timed.name, timed.access, timed.params.steps) == ("sleepy", "gradient", 2)
    search = searching(DefendedVictim(timed_backend(backend, clock, 0)), timed, ("test",), "gradient")
    problems = [timed_problem(problem, clock) for problem in placed]
    survives = StringInPrompt.survives
    monkeypatch.setattr(StringInPrompt, "survives", lambda self, rows: (hours.nap(1.0), survives(self, rows))[1])
    result = search.run(problems, seen=lambda done, _: clock.restart() if done == 1 else clock.stop())

    parts = clock.parts(PARTS)
    assert parts["gradient"] == 7.0, "both examples share one request"
    assert parts["scoring"] == 5.0
    assert parts["sampling"] == 2 * 2.0
    assert parts["filter"] == 2 * 1.0
    assert parts["other"] == 2 * 1.0, "what the harness itself tokenises anew"
    assert clock.total == sum(parts.values())
    assert clock.scored == 14
    assert [item.target for item in clock.items] == [0, 0], "one target, whatever the example says"
    same = toy_examples(2)[1].id  # its own target is the same
    strings = [[row.attack_text for row in rows if row.example == same] for rows in (before, result.rows)]
    assert strings[0] == strings[1], "timing changes nothing"


def test_the_filter_counts_once_and_only_for_the_attack(hours: Hours) -> None:
    clock = Clock()
    clock.restart()
    with clock.filter():  # the harness's own
        hours.nap(1.0)
    with clock.step(), clock.filter(), clock.filter():
        hours.nap(3.0)
    clock.stop()
    expected = {"gradient": 0.0, "sampling": 0.0, "filter": 3.0, "scoring": 0.0, "other": 1.0}
    assert clock.parts(PARTS) == expected


def test_rates_of_products_are_rates() -> None:
    import torch

    from harness.bench.matmul_peak import LargeMatmuls, layer_matmul_rate

    matmuls = LargeMatmuls(torch.device("cpu"), torch.float32)
    rate = matmuls.rate()
    a = torch.from_numpy(np.random.default_rng(0).random((1024, 1024), dtype=np.float32))
    began = time.perf_counter()
    for _ in range(4):
        a @ a
    here = 4 * 2 * 1024**3 / (time.perf_counter() - began)
    assert here / 10 < rate < here * 10
    layers = layer_matmul_rate(torch.nn.Sequential(torch.nn.Linear(256, 512), torch.nn.Linear(512, 256)))
    assert rate / 20 < layers < rate * 5
