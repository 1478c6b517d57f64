"""PGD: projected gradient descent on relaxed strings, which are made strings of tokens after each update."""

from __future__ import annotations

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from harness import (
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
from plugins.attacks._common.adam import Adam
from plugins.attacks._common.simplex import discretised, project_to_entropy, project_to_simplex
from plugins.attacks._common.stored_array import decode_array, encode_array

_WEIGHTS, _SCORED = "weights", "scored"  # keys of a state's memory
LONGEST_GRADIENT = 20.0  # of a position, Euclidean, as in the authors' code


class PGD(Attack):
    """Projected gradient descent on relaxed one-hot strings: Adam moves the mixtures of tokens at all positions at
    once, projections keep them mixtures and make them sharp, and the string of their heaviest tokens is scored. The
    best string so far is judged.
    """

    name = "pgd"
    access = "gradient"
    relaxes = True
    paper = "Geisler et al. 2024, 'Attacking Large Language Models with Projected Gradient Descent', arXiv 2402.09154"

    class Params(Attack.Params):
        steps: PositiveInt = Field(16, description="how many steps to run; each is judged and recorded")
        updates: PositiveInt = Field(8, description="updates of the relaxed string per step")
        learning_rate: PositiveFloat = Field(1.0, allow_inf_nan=False, description="of Adam, on the weights")
        entropy: float = Field(
            1.0,
            ge=0,
            le=1,
            description="strength of the entropy projection: 0 leaves mixtures as they are, 1 makes them single tokens",
        )
        anneal: NonNegativeInt = Field(
            30, description="updates over which the entropy projection grows to its strength, from 0"
        )
        prompts: PositiveInt = Field(
            1, description="examples that share one string, a universal one: losses and gradients are means over them"
        )

    def group(self) -> int:
        return self.params.prompts

    def start(self, problem: Problem, rng: np.random.Generator) -> State:
        return problem.state(problem.random_tokens(rng))

    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Step:
        shape = problem.budget, len(problem.allowed)
        memory = state.memory
        if memory:
            weights = decode_array(memory[_WEIGHTS], shape).astype(np.float64)
        else:
            weights = rng.random(shape)
            weights /= weights.sum(axis=1, keepdims=True)
        adam = Adam.from_json(memory, shape, self.params.learning_rate)
        scored = memory.get(_SCORED)
        for _ in range(self.params.updates):
            answer: RelaxedAnswer = yield RelaxedGradient(weights)
            weights = project_to_simplex(weights - adam.step(clipped(answer.gradient)))
            weights = project_to_entropy(weights, self._strength(adam.updates))
            string = discretised(weights, problem, rng)
            if len(string) and string[0].tolist() != scored:
                losses = yield Score(string)
                state, scored = state.best(string, losses), string[0].tolist()
        kept = {_WEIGHTS: encode_array(weights), _SCORED: scored} | adam.to_json()
        return State(state.tokens, state.loss, kept)

    def _strength(self, updates: int) -> float:
        """Of the entropy projection after so many updates."""
        return self.params.entropy * min(1.0, updates / self.params.anneal if self.params.anneal else 1.0)


def clipped(gradient: Floats) -> Floats:
    """The gradient [S, A], no position's longer than `LONGEST_GRADIENT`."""
    length = np.linalg.norm(gradient, axis=1, keepdims=True)
    return gradient * np.minimum(1.0, LONGEST_GRADIENT / np.maximum(length, LONGEST_GRADIENT))


@hookimpl
def harness_register_attacks(register):
    register(PGD)
