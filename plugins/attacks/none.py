"""No attack: the prompt without any attack string."""

from __future__ import annotations

import numpy as np
from pydantic import Field, PositiveInt

from harness import Attack, Problem, State, Step, Tokens, hookimpl

EMPTY: Tokens = np.empty(0, dtype=np.int64)


class NoAttack(Attack):
    """The clean baseline: an empty attack string, judged once, without any request to the victim."""

    name = "none"
    access = "text"

    class Params(Attack.Params):
        steps: PositiveInt = Field(1, description="how often the clean prompt is judged")

    def start(self, problem: Problem, rng: np.random.Generator) -> State:
        return problem.state(EMPTY)

    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Step:
        return state
        yield  # a step is a generator


@hookimpl
def harness_register_attacks(register):
    register(NoAttack)
