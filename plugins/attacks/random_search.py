"""Random search: one place at a time, with nothing but scores."""

from __future__ import annotations

import numpy as np
from pydantic import Field, PositiveInt

from harness import Attack, Problem, Score, State, Step, Tokens, hookimpl


class RandomSearch(Attack):
    """Coordinate random search: a few neighbouring tokens are drawn anew; the best string so far is kept."""

    name = "random_search"
    access = "scores"
    paper = (
        "Andriushchenko et al. 2024, 'Jailbreaking Leading Safety-Aligned LLMs with Simple Adaptive Attacks', "
        "arXiv 2404.02151 (there one candidate at a time, on 25 tokens, from a hand-written string)"
    )

    class Params(Attack.Params):
        candidates: PositiveInt = Field(64, description="strings scored per step, all neighbours of the best so far")
        width: PositiveInt = Field(1, description="neighbouring tokens that are drawn anew in each candidate")

    def start(self, problem: Problem, rng: np.random.Generator) -> State:
        return problem.state(problem.random_tokens(rng))

    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Step:
        count = self.params.candidates
        alive = problem.survives(state.array[None])[0]
        if not alive:  # nor are its neighbours likely to be
            state = problem.state(problem.random_tokens(rng))
            alive = problem.survives(state.array[None])[0]
        candidates = problem.refill(
            count, lambda n: neighbours(state.array, problem.allowed, self.params.width, rng, n)
        )
        if state.loss is None and alive:
            candidates = np.concatenate([state.array[None], candidates])[:count]  # the first string's loss is not known
        losses = yield Score(candidates, near=state.array)
        return state.best(candidates, losses)


def neighbours(tokens: Tokens, allowed: Tokens, width: int, rng: np.random.Generator, count: int) -> Tokens:
    """Strings that differ from ``tokens`` [S] in at most ``width`` neighbouring places, at random; [count, S]."""
    width = min(width, len(tokens))
    places = rng.integers(len(tokens) - width + 1, size=count)[:, None] + np.arange(width)
    rows = np.tile(tokens, (count, 1))
    rows[np.arange(count)[:, None], places] = rng.choice(allowed, size=(count, width))
    return rows


@hookimpl
def harness_register_attacks(register):
    register(RandomSearch)
