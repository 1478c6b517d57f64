"""An attack with score access."""

import numpy as np
from pydantic import PositiveInt

from harness import Attack, Score, hookimpl


class HillClimb(Attack):
    """Change one random position to random tokens and keep the best."""

    name = "hill_climb"
    access = "scores"
    paper = "folklore"

    class Params(Attack.Params):
        tries: PositiveInt = 8

    def start(self, problem, rng):
        return problem.state(problem.random_tokens(rng))

    def step(self, state, problem, rng):
        def propose(n):
            rows = np.tile(state.array, (n, 1))
            rows[np.arange(n), rng.integers(len(state.tokens), size=n)] = rng.choice(problem.allowed, size=n)
            return rows

        candidates = problem.refill(self.params.tries, propose)
        losses = yield Score(candidates, near=state.array)
        return state.best(candidates, losses)


@hookimpl
def harness_register_attacks(register):
    register(HillClimb)
