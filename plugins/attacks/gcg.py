"""GCG: greedy coordinate gradient."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from math import exp
from typing import Any, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from harness import Attack, Floats, Gradient, Mellowmax, Problem, Score, State, Step, Tokens, hookimpl
from plugins.attacks._common.initial_tokens import RANDOM, initial_tokens
from plugins.attacks._common.momentum import lowest_mean_tokens, running_mean
from plugins.attacks._common.stored_array import encode_array
from plugins.attacks._common.substitutions import merged_substitutions, substitutions

_STEP, _MEAN, _LOST, _STARTS = "step", "mean_gradient", "lost", "starts"  # keys of a state's memory


class GCG(Attack):
    """Greedy coordinate gradient: scores random token substitutions among those with the most negative one-hot gradient
    and takes the best.
    """

    name = "gcg"
    access = "gradient"
    paper = (
        "Zou et al. 2023, 'Universal and Transferable Adversarial Attacks on Aligned Language Models', "
        "arXiv 2307.15043; defaults of arXiv 2407.18213; momentum of arXiv 2405.01229; merging of arXiv 2405.21018"
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
            "when the best candidate is worse, from it with a probability that falls over the steps",
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
        starts: PositiveInt = Field(
            1, description="first strings scored, all but one random; the search starts from the best (a buffer's size)"
        )
        merged: PositiveInt = Field(
            1, description="best candidates whose substitutions are combined, one after the other, and scored too"
        )
        loss: Literal["mean", "mellowmax"] = Field(
            "mean", description="of a target text: the mean NLL of its tokens, or between that and the largest"
        )
        alpha: PositiveFloat = Field(
            1.0, allow_inf_nan=False, description="of loss: mellowmax, per nat; the larger, the nearer to the largest"
        )

        def identity(self) -> dict[str, Any]:
            """The parameters; a newer one only where it changes something, so that the keys of older runs stay."""
            unused = {"starts": 1, "merged": 1, "loss": "mean"}
            unused |= {"alpha": self.alpha} if self.loss == "mean" else {}
            return {name: value for name, value in super().identity().items() if unused.get(name) != value}

        @property
        def over(self) -> Mellowmax | None:
            """How NLLs of tokens become a loss."""
            return None if self.loss == "mean" else Mellowmax(self.alpha)

    def group(self) -> int:
        return self.params.prompts

    def start(self, problem: Problem, rng: np.random.Generator) -> State:
        state = problem.state(initial_tokens(self.params.initial, problem, rng))
        if self.params.starts == 1:
            return state
        return replace(state, memory={_STARTS: problem.random_tokens(rng, self.params.starts - 1).tolist()})

    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Step:
        params = self.params
        memory: dict[str, Any] = {}
        if params.keep == "annealed":
            memory[_STEP] = state.memory.get(_STEP, 0) + 1
        if state.memory.get(_LOST):  # neither the string nor any of its neighbours survives tokenisation
            state = problem.state(problem.random_tokens(rng))
        if _STARTS in state.memory:
            starts = np.asarray([state.tokens, *state.memory[_STARTS]], dtype=np.int64)
            starts = starts[problem.survives(starts)]
            state = replace(state.best(starts, (yield Score(starts, over=params.over, best=1))), memory={})
        top = len(problem.allowed) if params.momentum else params.topk
        gradient = yield Gradient(state.array, top, over=params.over)
        if params.momentum:
            mean = running_mean(state.memory.get(_MEAN), gradient, problem.allowed, params.momentum)
            gradient = lowest_mean_tokens(mean, gradient.loss, problem.allowed, params.topk)
            memory[_MEAN] = encode_array(mean)
        loss = state.loss
        if loss is None and problem.survives(state.array[None])[0]:
            loss = gradient.loss  # the first gradient pass gives the loss of the first string
        state = State(state.tokens, loss, memory)
        candidates = problem.refill(
            params.candidates, lambda n: substitutions(state.array, gradient, rng, n, params.swaps)
        )
        scoring = Score(candidates, near=state.array, over=params.over, best=params.merged)
        losses = yield from self._losses(scoring, rng)
        if params.merged > 1:
            merged = merged_substitutions(state.array, candidates, losses, params.merged)
            merged = merged[problem.survives(merged)]
            merged_losses = yield Score(merged, near=state.array, over=params.over, best=1)
            candidates, losses = np.concatenate([candidates, merged]), np.concatenate([losses, merged_losses])
        new = self._next_state(state, candidates, losses, rng)
        return new if new.loss is not None else replace(new, memory=memory | {_LOST: True})

    def _losses(self, request: Score, rng: np.random.Generator) -> Generator[Score, Any, Floats]:
        """Losses of the candidates, [K], of which the request says how many of the lowest are wanted."""
        losses: Floats = yield request
        return losses

    def _next_state(self, state: State, candidates: Tokens, losses: Floats, rng: np.random.Generator) -> State:
        """The string that the next step starts from, by ``keep``."""
        if self.params.keep == "best_so_far":
            return state.best(candidates, losses)
        new = state.latest(candidates, losses)
        if self.params.keep == "this_step" or new.loss is None or state.loss is None or new.loss <= state.loss:
            return new
        temperature = self.params.temperature * (1 - state.memory[_STEP] / self.params.steps)
        return new if temperature > 0 and rng.random() < exp((state.loss - new.loss) / temperature) else state


@hookimpl
def harness_register_attacks(register):
    register(GCG)
