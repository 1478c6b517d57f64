"""Attacks that each break one promise, and the check that must say so."""

from __future__ import annotations

import random
import time

import numpy as np
from pydantic import ConfigDict, field_validator

from harness import Attack, Gradient, Score, State


class Good(Attack):
    """Keeps the better of two random strings."""

    name = "good"
    access = "scores"

    def start(self, problem, rng):
        return problem.state(problem.random_tokens(rng))

    def step(self, state, problem, rng):
        rows = problem.random_tokens(rng, 2)
        losses = yield Score(rows)
        return state.best(rows, losses)


class AsksBeyond(Good):
    """Asks for gradients, declares scores."""

    def step(self, state, problem, rng):
        yield Gradient(state.array, top=2)
        return state


class GlobalRandom(Good):
    """Draws from the global generator."""

    def step(self, state, problem, rng):
        rows = np.random.choice(problem.allowed, size=(4, problem.budget))
        losses = yield Score(rows)
        return state.best(rows, losses)


class OnSelf(Good):
    """Remembers the best loss of all examples on itself."""

    def step(self, state, problem, rng):
        rows = problem.random_tokens(rng, 4)
        losses = yield Score(rows)
        if losses.min() > getattr(self, "best", np.inf):
            return state
        self.best = losses.min()
        return state.best(rows, losses)


class SelfCounter(Good):
    """Counts its steps on itself, per example."""

    def step(self, state, problem, rng):
        counts = self.__dict__.setdefault("counts", {})
        counts[problem.example.id] = counts.get(problem.example.id, 0) + 1
        rows = problem.random_tokens(rng, 4)
        losses = yield Score(rows)
        return state.latest(rows, losses) if counts[problem.example.id] < 3 else state


class IntegerKeys(Good):
    """Keeps whole numbers as keys, which JSON turns into text."""

    def step(self, state, problem, rng):
        rows = problem.random_tokens(rng, 4)
        losses = yield Score(rows)
        if state.memory.get(1):
            return State(state.tokens, state.loss, {1: True})
        return State(state.latest(rows, losses).tokens, None, {1: True})


class NanMemory(Good):
    """Keeps NaN in its memory."""

    def step(self, state, problem, rng):
        yield Score(problem.random_tokens(rng, 2))
        return State(state.tokens, None, {"loss": float("nan")})


class TooLong(Good):
    """Makes its string longer step by step."""

    def step(self, state, problem, rng):
        yield Score(problem.random_tokens(rng, 2))
        return State((*state.tokens, int(problem.allowed[0])))


class AnyToken(Good):
    """Takes tokens that the threat model does not allow."""

    def step(self, state, problem, rng):
        yield Score(problem.random_tokens(rng, 2))
        return State(tuple(rng.integers(problem.tokenizer.vocabulary, size=problem.budget)))


class TwoAtLeast(Good):
    """Changes two different positions, and breaks down where there is one."""

    def step(self, state, problem, rng):
        rows = np.tile(state.array, (4, 1))
        rows[:, rng.choice(problem.budget, size=2, replace=False)] = rng.choice(problem.allowed, size=(4, 2))
        losses = yield Score(rows)
        return state.best(rows, losses)


class Unfiltered(Good):
    """Never looks whether a string survives, and picks letters, which merge."""

    def step(self, state, problem, rng):
        yield Score(problem.random_tokens(rng, 2))
        letters = [problem.tokenizer.encode([letter])[0][0] for letter in " the the the"]
        return State(tuple((letters * problem.budget)[: problem.budget]))


class NeedsRows(Good):
    """Takes the first of the strings that survived, whether there is one or not."""

    def step(self, state, problem, rng):
        rows = problem.random_tokens(rng, 2)
        losses = yield Score(rows)
        return problem.state(rows[int(losses.argmin())])


class NeedsNumbers(Good):
    """Takes losses for numbers."""

    def step(self, state, problem, rng):
        rows = problem.random_tokens(rng, 2)
        losses = yield Score(rows)
        if not (losses == losses).all():
            raise ValueError("a loss that is no number")
        return state.best(rows, losses)


class NeedsFinite(Good):
    """Takes losses for finite ones."""

    def step(self, state, problem, rng):
        rows = problem.random_tokens(rng, 2)
        losses = yield Score(rows)
        if np.isinf(losses).all():
            raise ValueError("nothing but inf")
        return state.best(rows, losses)


class Endless(Good):
    """Asks without end."""

    def step(self, state, problem, rng):
        while True:
            yield Score(state.array[None])


class Sleeps(Good):
    """Does not end."""

    def step(self, state, problem, rng):
        yield Score(state.array[None])
        while True:
            time.sleep(0.01)


class NoGroup(Good):
    """Says that no example has a string."""

    def group(self):
        return 0


class Moody(Good):
    """Has a default that depends on chance."""

    class Params(Attack.Params):
        mood: float = 0.0

        @field_validator("mood", mode="before")
        @classmethod
        def _drawn(cls, _value):
            return random.random()


class Lax(Good):
    """Takes any parameter."""

    class Params(Attack.Params):
        model_config = ConfigDict(extra="ignore", frozen=False)


BROKEN = {
    AsksBeyond: "access",
    GlobalRandom: "deterministic",
    OnSelf: "independent",
    SelfCounter: "resumes",
    IntegerKeys: "resumes",
    NanMemory: "plain_state",
    TooLong: "threat_model",
    AnyToken: "threat_model",
    TwoAtLeast: "threat_model",
    Unfiltered: "survives",
    NeedsRows: "no_survivor",
    NeedsNumbers: "nan_losses",
    NeedsFinite: "blocked",
    Endless: "access",
    NoGroup: "group",
    Moody: "identity",
    Lax: "strict",
}
