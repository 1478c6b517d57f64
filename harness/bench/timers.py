"""Stand-ins for a backend, a problem and an attack that time what goes through them and change nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.api.attack import Attack, Step
from harness.api.model.backend import Backend, CachingBackend, Differentiated, GradientItem, Scored, ScoreItem, Target
from harness.api.problem.problem import Problem
from harness.api.problem.state import State
from harness.tokens.tokenizer import Tokens


@dataclass
class Clock:
    """Adds up seconds by part.

    Attributes:
        total: seconds between `restart` and `stop`.
        scored: candidates.
        executed: FLOPs.
        items, answers: of the last request to score.
    """

    total: float = 0.0
    scored: int = 0
    executed: float = 0.0
    items: Sequence[ScoreItem] = ()
    answers: Sequence[Scored] = ()
    _spent: dict[str, float] = field(default_factory=dict)
    _began: float = 0.0
    _stepping: bool = False
    _filtering: bool = False

    def restart(self) -> None:
        """Forget what was added up and begin to time."""
        self._spent, self.scored, self.executed = {}, 0, 0.0
        self._began = time.perf_counter()

    def stop(self) -> None:
        """End what is timed: set ``total``."""
        self.total = time.perf_counter() - self._began

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Within, time is spent on a part."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._spent[name] = self._spent.get(name, 0.0) + time.perf_counter() - began

    @contextmanager
    def step(self) -> Iterator[None]:
        """Within, the attack itself is at work."""
        self._stepping = True
        try:
            with self.part("step"):
                yield
        finally:
            self._stepping = False

    @contextmanager
    def filter(self) -> Iterator[None]:
        """Within, strings are tokenised again; it counts where the attack asks for it, and once."""
        if self._filtering or not self._stepping:
            yield
            return
        self._filtering = True
        try:
            with self.part("filter"):
                yield
        finally:
            self._filtering = False

    def parts(self, names: Sequence[str]) -> dict[str, float]:
        """Seconds of each part; sampling is the attack's own work less its filter, other is what is left."""
        spent = self._spent
        known = {
            "gradient": spent.get("gradient", 0.0),
            "sampling": spent.get("step", 0.0) - spent.get("filter", 0.0),
            "filter": spent.get("filter", 0.0),
            "scoring": spent.get("scoring", 0.0),
        }
        return {name: known.get(name, self.total - sum(known.values())) for name in names}


def timed_problem(problem: Problem, clock: Clock) -> Problem:
    """A problem whose filter is timed."""
    given = {item.name: getattr(problem, item.name) for item in fields(Problem)}
    return _TimedProblem(**given, clock=clock)


@dataclass(frozen=True)
class _TimedProblem(Problem):
    clock: Clock = field(default_factory=Clock)

    def survives(self, candidates: Tokens) -> NDArray[np.bool_]:
        with self.clock.filter():
            return super().survives(candidates)

    def attack_texts(self, candidates: Tokens) -> list[str | None]:
        with self.clock.filter():
            return super().attack_texts(candidates)


def timed_attack(attack: Attack, clock: Clock) -> Attack:
    """An attack whose own work is timed."""
    facts = {"name": attack.name, "access": attack.access}  # belong to the class
    timed: type[_TimedAttack] = type("TimedAttack", (_TimedAttack,), facts)
    return timed(attack, clock)


class _TimedAttack(Attack):
    def __init__(self, attack: Attack, clock: Clock) -> None:
        super().__init__(attack.params)
        self._attack, self._clock = attack, clock

    def start(self, problem: Problem, rng: np.random.Generator) -> State:
        return self._attack.start(problem, rng)

    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Step:
        step = self._attack.step(state, problem, rng)
        answer: Any = None
        while True:
            with self._clock.step():
                try:
                    request = step.send(answer)
                except StopIteration as stop:
                    end: State = stop.value
                    return end
            answer = yield request


def timed_backend(backend: Backend, clock: Clock, target: Target) -> Any:
    """A backend whose answers are timed and are about one target, whatever the example says."""
    return _TimedBackend(backend, clock, target)


class _TimedBackend:
    def __init__(self, backend: Backend, clock: Clock, target: Target) -> None:
        self._backend, self._clock, self._target = backend, clock, target

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def begin(self, befores: Sequence[Tokens]) -> None:
        if isinstance(self._backend, CachingBackend):
            self._backend.begin(befores)

    def begin_step(self) -> None:
        if isinstance(self._backend, CachingBackend):
            self._backend.begin_step()

    def score(self, items: Sequence[ScoreItem]) -> list[Scored]:
        retargeted = [replace(item, target=self._target) for item in items]
        with self._clock.part("scoring"):
            answers = self._backend.score(retargeted)
        self._clock.items, self._clock.answers = retargeted, answers
        self._clock.scored += sum(len(item.candidates) for item in items)
        self._clock.executed += sum(answer.executed for answer in answers)
        return answers

    def gradient(self, items: Sequence[GradientItem]) -> list[Differentiated]:
        retargeted = [replace(item, target=self._target) for item in items]
        with self._clock.part("gradient"):
            answers = self._backend.gradient(retargeted)
        self._clock.executed += sum(answer.executed for answer in answers)
        return answers
