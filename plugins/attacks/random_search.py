"""Coordinate random search, with nothing but scores."""

from __future__ import annotations

import numpy as np
from pydantic import Field, PositiveInt

from harness import Attack, Problem, Score, State, Step, Tokens, hookimpl


class RandomSearch(Attack):
    """Coordinate random search: redraws a few neighbouring tokens at random and keeps the best string so far."""

    name = "random_search"
    access = "scores"
    paper = (
        "Andriushchenko et al. 2024, 'Jailbreaking Leading Safety-Aligned LLMs with Simple Adaptive Attacks', "
        "arXiv 2404.02151 (there one candidate at a time, on 25 tokens, from a hand-written string)"
    )

    class Params(Attack.Params):
        candidates: PositiveInt = Field(64, description="strings scored per step, all neighbours of the best so far")
        width: PositiveInt = Field(1, description="neighbouring tokens that are redrawn in each candidate")

    def start(self, problem: Problem, rng: np.random.Generator) -> State:
        return problem.state(problem.random_tokens(rng))

    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Step:
        count = self.params.candidates
        survives = problem.survives(state.array[None])[0]
        if not survives:  # then its neighbours are unlikely to
            state = problem.state(problem.random_tokens(rng))
            survives = problem.survives(state.array[None])[0]
        candidates = problem.refill(
            count, lambda n: neighbours(state.array, problem.allowed, self.params.width, rng, n)
        )
        if state.loss is None and survives:
            candidates = np.concatenate([state.array[None], candidates])[:count]  # the first string is not scored yet
        losses = yield Score(candidates, near=state.array, best=1)
        return state.best(candidates, losses)


def neighbours(tokens: Tokens, allowed: Tokens, width: int, rng: np.random.Generator, count: int) -> Tokens:
    """Random strings that differ from ``tokens`` [S] in at most ``width`` neighbouring positions; shape [count, S]."""
    width = min(width, len(tokens))
    positions = rng.integers(len(tokens) - width + 1, size=count)[:, None] + np.arange(width)
    rows = np.tile(tokens, (count, 1))
    rows[np.arange(count)[:, None], positions] = rng.choice(allowed, size=(count, width))
    return rows


@hookimpl
def harness_register_attacks(register):
    register(RandomSearch)
