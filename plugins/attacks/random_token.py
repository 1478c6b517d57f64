"""Random tokens: the baseline that every attack must beat."""

from __future__ import annotations

import numpy as np
from pydantic import Field, PositiveInt

from harness import Attack, Problem, Score, State, Step, hookimpl


class RandomToken(Attack):
    """Uniformly random attack strings; the best so far is kept."""

    name = "random_token"
    access = "scores"
    paper = "'Scaling Trends in Language Model Robustness', arXiv 2407.18213 (there 10 tokens, 1,280 independent draws)"

    class Params(Attack.Params):
        steps: PositiveInt = Field(40, description="how many steps to run; each is judged and recorded")
        draws: PositiveInt = Field(32, description="independent strings per step")

    def start(self, problem: Problem, rng: np.random.Generator) -> State:
        return problem.state(problem.random_tokens(rng))

    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Step:
        draws = problem.random_tokens(rng, self.params.draws)
        losses = yield Score(draws, best=1)
        return state.best(draws, losses)


@hookimpl
def harness_register_attacks(register):
    register(RandomToken)
