"""GCG: greedy coordinate gradient."""

from __future__ import annotations

from dataclasses import replace
from math import exp
from typing import Any, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveInt

from harness import Attack, Floats, Gradient, GradientAnswer, Problem, Score, State, Step, Tokens, hookimpl
from plugins.attacks._common.initial_tokens import RANDOM, initial_tokens
from plugins.attacks._common.momentum import encode_mean, lowest_mean_tokens, running_mean

_STEP, _MEAN, _LOST = "step", "mean_gradient", "lost"  # keys of a state's memory


class GCG(Attack):
    """Greedy coordinate gradient: scores random token substitutions among those with the most negative one-hot gradient
    and takes the best.
    """

    name = "gcg"
    access = "gradient"
    paper = (
        "Zou et al. 2023, 'Universal and Transferable Adversarial Attacks on Aligned Language Models', "
        "arXiv 2307.15043; defaults of arXiv 2407.18213; momentum of arXiv 2405.01229"
    )

    class Params(Attack.Params):
        candidates: PositiveInt = Field(128, description="substitutions scored per step")
        topk: PositiveInt = Field(
            256, description="tokens considered per position, those with the most negative gradient"
        )
        swaps: PositiveInt = Field(1, description="positions that each candidate changes")
        keep: Literal["this_step", "best_so_far", "annealed"] = Field(
            "this_step",
            description="go on from the best candidate of this step, even if it is worse; from the best so far; or, "
            "when the best candidate is worse, from it with a chance that falls over the steps",
        )
        temperature: NonNegativeFloat = Field(
            1.0,
            description="of keep: annealed, in nats: a loss worse by d is accepted with probability exp(-d / T), T "
            "falling linearly from this to 0 at the last step",
        )
        momentum: float = Field(
            0.0,
            ge=0,
            lt=1,
            description="weight of the earlier steps' mean gradient against this step's; 0 is plain GCG",
        )
        prompts: PositiveInt = Field(
            1, description="examples that share one string, a universal one: losses and gradients are means over them"
        )
        initial: str = Field(
            RANDOM,
            min_length=1,
            description="the first string: random allowed tokens, or a text that is repeated until the token budget is "
            "full, such as '! '",
        )

    def group(self) -> int:
        return self.params.prompts

    def start(self, problem: Problem, rng: np.random.Generator) -> State:
        return problem.state(initial_tokens(self.params.initial, problem, rng))

    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Step:
        params = self.params
        memory: dict[str, Any] = {}
        if params.keep == "annealed":
            memory[_STEP] = state.memory.get(_STEP, 0) + 1
        if state.memory.get(_LOST):  # neither the string nor any of its neighbours survives tokenisation
            state = problem.state(problem.random_tokens(rng))
        gradient = yield Gradient(state.array, top=len(problem.allowed) if params.momentum else params.topk)
        if params.momentum:
            mean = running_mean(state.memory.get(_MEAN), gradient, problem.allowed, params.momentum)
            gradient = lowest_mean_tokens(mean, gradient.loss, problem.allowed, params.topk)
            memory[_MEAN] = encode_mean(mean)
        loss = state.loss
        if loss is None and problem.survives(state.array[None])[0]:
            loss = gradient.loss  # the first gradient pass gives the loss of the first string
        state = State(state.tokens, loss, memory)
        candidates = problem.refill(
            params.candidates, lambda n: substitutions(state.array, gradient, rng, n, params.swaps)
        )
        losses = yield Score(candidates, near=state.array)
        new = self._next_state(state, candidates, losses, rng)
        return new if new.loss is not None else replace(new, memory=memory | {_LOST: True})

    def _next_state(self, state: State, candidates: Tokens, losses: Floats, rng: np.random.Generator) -> State:
        """The string that the next step starts from, by ``keep``."""
        if self.params.keep == "best_so_far":
            return state.best(candidates, losses)
        new = state.latest(candidates, losses)
        if self.params.keep == "this_step" or new.loss is None or state.loss is None or new.loss <= state.loss:
            return new
        temperature = self.params.temperature * (1 - state.memory[_STEP] / self.params.steps)
        return new if temperature > 0 and rng.random() < exp((state.loss - new.loss) / temperature) else state


def substitutions(
    tokens: Tokens, gradient: GradientAnswer, rng: np.random.Generator, count: int, swaps: int = 1
) -> Tokens:
    """Strings that differ from ``tokens`` in exactly ``swaps`` positions (or in all that have a choice, if these are
    fewer), drawn uniformly, each new token uniform over the gradient's choice for its position.

    Returns:
        shape [count, S]; no rows when the gradient's only choice at every position is the token that is there.
    """
    current = gradient.tokens == tokens[:, None]  # [S, top], at most one per position
    width = gradient.tokens.shape[1]
    choices = width - current.sum(axis=1)
    positions = np.flatnonzero(choices)
    if len(positions) == 0:
        return np.empty((0, len(tokens)), dtype=np.int64)
    if swaps == 1:
        swapped = rng.choice(positions, size=(count, 1))
    else:
        swapped = positions[rng.random((count, len(positions))).argsort(axis=1)[:, :swaps]]
    columns = rng.integers(choices[swapped])
    current_column = np.where(choices < width, current.argmax(axis=1), width)
    columns += columns >= current_column[swapped]  # steps over the token that is there
    rows = np.tile(tokens, (count, 1))
    rows[np.arange(count)[:, None], swapped] = gradient.tokens[swapped, columns]
    return rows


@hookimpl
def harness_register_attacks(register):
    register(GCG)
