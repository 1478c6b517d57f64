"""GCG: greedy coordinate gradient."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, PositiveInt

from harness import Attack, Gradient, GradientAnswer, Problem, Score, State, Step, Tokens, hookimpl


class GCG(Attack):
    """Greedy coordinate gradient: one-token substitutions that the one-hot gradient favours, the best of them taken."""

    name = "gcg"
    access = "gradient"
    paper = (
        "Zou et al. 2023, 'Universal and Transferable Adversarial Attacks on Aligned Language Models', "
        "arXiv 2307.15043; defaults of arXiv 2407.18213"
    )

    class Params(Attack.Params):
        candidates: PositiveInt = Field(128, description="substitutions scored per step")
        topk: PositiveInt = Field(
            256, description="tokens considered per position, those with the most negative gradient"
        )
        keep: Literal["this_step", "best_so_far"] = Field(
            "this_step",
            description="go on from the best candidate of this step, even if it is worse, or from the best so far",
        )

    def start(self, problem: Problem, rng: np.random.Generator) -> State:
        return problem.state(problem.random_tokens(rng))

    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Step:
        gradient = yield Gradient(state.array, top=self.params.topk)
        if (
            state.loss is None and problem.survives(state.array[None])[0]
        ):  # the first gradient pass tells the loss of the first string
            state = State(state.tokens, gradient.loss)
        candidates = problem.refill(self.params.candidates, lambda n: substitutions(state.array, gradient, rng, n))
        losses = yield Score(candidates, near=state.array)
        keep = state.best if self.params.keep == "best_so_far" else state.latest
        return keep(candidates, losses)


def substitutions(tokens: Tokens, gradient: GradientAnswer, rng: np.random.Generator, count: int) -> Tokens:
    """Strings that differ from ``tokens`` in exactly one position, drawn uniformly, its new token uniform over the
    gradient's choice.

    Returns:
        shape [count, S]; no rows when the gradient's only choice at every position is the token that is there.
    """
    same = gradient.tokens == tokens[:, None]  # at most once per position
    choices = gradient.tokens.shape[1] - same.sum(axis=1)
    positions = np.flatnonzero(choices)
    if len(positions) == 0:
        return np.empty((0, len(tokens)), dtype=np.int64)
    position = rng.choice(positions, size=count)
    chosen = rng.integers(choices[position])
    current = np.where(choices < gradient.tokens.shape[1], same.argmax(axis=1), gradient.tokens.shape[1])
    chosen += chosen >= current[position]  # steps over the token that is there
    rows = np.tile(tokens, (count, 1))
    rows[np.arange(count), position] = gradient.tokens[position, chosen]
    return rows


@hookimpl
def harness_register_attacks(register):
    register(GCG)
