"""ADC: relaxed strings that become sparser the more of the target's tokens are right."""

from __future__ import annotations

from math import exp

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from harness import (
    AccessError,
    Attack,
    Floats,
    Problem,
    RelaxedAnswer,
    RelaxedGradient,
    Score,
    State,
    Step,
    hookimpl,
)
from plugins.attacks._common.simplex import discretised, project_to_sparse
from plugins.attacks._common.stored_array import decode_array, encode_array

_WEIGHTS, _VELOCITY, _SCORED = "weights", "velocity", "scored"  # keys of a state's memory


class ADC(Attack):
    """Adaptive dense-to-sparse optimisation: gradient descent with a high momentum moves relaxed one-hot strings, and
    after each update as few entries of a position are left as the number of wrong target tokens allows. The string of
    the heaviest tokens is scored, and the best string so far is judged.
    """

    name = "adc"
    access = "gradient"
    relaxes = True
    paper = (
        "Hu et al. 2024, 'Efficient LLM Jailbreak via Adaptive Dense-to-sparse Constrained Optimization', "
        "arXiv 2405.09113"
    )

    class Params(Attack.Params):
        steps: PositiveInt = Field(16, description="how many steps to run; each is judged and recorded")
        updates: PositiveInt = Field(8, description="updates of the relaxed string per step")
        learning_rate: PositiveFloat = Field(10.0, allow_inf_nan=False, description="of gradient descent")
        momentum: float = Field(0.99, ge=0, lt=1, description="what is left of the last update's velocity in the next")
        prompts: PositiveInt = Field(
            1, description="examples that share one string, a universal one: losses and gradients are means over them"
        )

    def group(self) -> int:
        return self.params.prompts

    def start(self, problem: Problem, rng: np.random.Generator) -> State:
        return problem.state(problem.random_tokens(rng))

    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Step:
        shape = problem.budget, len(problem.allowed)
        if state.memory:
            weights = decode_array(state.memory[_WEIGHTS], shape).astype(np.float64)
            velocity = decode_array(state.memory[_VELOCITY], shape).astype(np.float64)
        else:
            weights = np.exp(rng.normal(size=shape))
            weights /= weights.sum(axis=1, keepdims=True)
            velocity = np.zeros(shape)
        scored = state.memory.get(_SCORED)
        for _ in range(self.params.updates):
            answer: RelaxedAnswer = yield RelaxedGradient(weights)
            velocity = self.params.momentum * velocity + answer.gradient
            moved = weights - self.params.learning_rate * velocity
            weights = project_to_sparse(moved, entries_left(answer, shape[1]), rng)
            string = discretised(weights, problem, rng)
            if len(string) and string[0].tolist() != scored:
                losses: Floats = yield Score(string)
                state, scored = state.best(string, losses), string[0].tolist()
        kept = {_WEIGHTS: encode_array(weights), _VELOCITY: encode_array(velocity), _SCORED: scored}
        return State(state.tokens, state.loss, kept)


def entries_left(answer: RelaxedAnswer, most: int) -> float:
    """How many entries of a position are left: e to the power of the number of wrong target tokens, at most all."""
    if answer.wrong is None:
        raise AccessError("adc has to know how many target tokens are wrong, and this victim does not tell; use pgd")
    return min(float(most), exp(min(answer.wrong, 50.0)))


@hookimpl
def harness_register_attacks(register):
    register(ADC)
