"""What PGD and ADC share: a relaxed string moves against its gradient, and its heaviest tokens are scored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from harness import Attack, Floats, Problem, RelaxedAnswer, RelaxedGradient, Score, State, Step
from plugins.attacks._common.relaxed.simplex import discretised

_SCORED = "scored"  # key of a state's memory: the string scored last


class Mixtures(Protocol):
    """A relaxed string.

    Attributes:
        weights: shape [S, A], rows on the simplex.
    """

    weights: Floats

    def update(self, answer: RelaxedAnswer, rng: np.random.Generator) -> None:
        """Move the weights against the gradient, and put them back onto the simplex."""

    def to_json(self) -> dict[str, Any]:
        """For a state's memory."""


class RelaxedSearch(Attack):
    """Base of the attacks that move all positions of a relaxed string at once. Its parameters hold ``updates``, per
    step, and ``prompts``, examples that share one string.
    """

    relaxes = True

    def mixtures(self, memory: Mapping[str, Any], shape: tuple[int, int], rng: np.random.Generator) -> Mixtures:
        """The relaxed string of a state's memory, or the first one where that is empty."""
        raise NotImplementedError

    def group(self) -> int:
        """As many as share one string."""
        return int(self.params.prompts)

    def start(self, problem: Problem, rng: np.random.Generator) -> State:
        """A random string."""
        return problem.state(problem.random_tokens(rng))

    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Step:
        """Some updates, each with its string of tokens scored unless that is the last one again."""
        mixtures = self.mixtures(state.memory, (problem.budget, len(problem.allowed)), rng)
        scored = state.memory.get(_SCORED)
        for _ in range(self.params.updates):
            answer: RelaxedAnswer = yield RelaxedGradient(mixtures.weights)
            mixtures.update(answer, rng)
            string = discretised(mixtures.weights, problem, rng)
            if len(string) and string[0].tolist() != scored:
                losses: Floats = yield Score(string)
                state, scored = state.best(string, losses), string[0].tolist()
        return State(state.tokens, state.loss, {_SCORED: scored} | mixtures.to_json())
