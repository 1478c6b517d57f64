"""Projected gradient descent on activations. Not a text attack."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from harness import Attack, Floats, Latent, Perturb, PerturbAnswer, Problem, State, Step, hookimpl
from plugins.attacks._common.initial_tokens import RANDOM, initial_tokens

_PERTURBATION, _GRADIENT, _SCALE = "here", "slope", "scale"  # keys of a state's memory


class LatentAttack(Attack):
    """Projected gradient descent on the embeddings or on a layer's activations at the attack string.

    Not a text attack: no text has these activations, and it is never ranked next to text attacks.
    """

    name = "latent"
    access = "latent"
    paper = (
        "projected gradient descent: Madry et al. 2018, arXiv 1706.06083; on a language model's activations: Casper et "
        "al. 2024, 'Defending Against Unforeseen Failure Modes with Latent Adversarial Training', arXiv 2403.05030, "
        "and Sheshadri et al. 2024, arXiv 2407.15549"
    )

    class Params(Attack.Params):
        steps: PositiveInt = Field(16, description="how many steps to run; each is judged and recorded")
        layer: NonNegativeInt = Field(
            0, description="whose activations are perturbed: 0 the input embeddings, l the output of layer l, from 1"
        )
        step_size: PositiveFloat = Field(
            0.25, allow_inf_nan=False, description="how far a step moves each token, as a share of the threat's radius"
        )
        keep: Literal["this_step", "best_so_far"] = Field(
            "this_step", description="which perturbation is judged: this step's, or the one with the lowest loss so far"
        )
        initial: str = Field(
            RANDOM,
            min_length=1,
            description="the string whose activations are perturbed, and which stays as it is: random allowed tokens, "
            "or a text that is repeated until the token budget is full",
        )

    def start(self, problem: Problem, rng: np.random.Generator) -> State:
        return problem.state(initial_tokens(self.params.initial, problem, rng))

    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Step:
        layer, memory = self.params.layer, state.memory
        if _GRADIENT not in memory:  # the first step starts at the string as it is
            answer: PerturbAnswer = yield Perturb(state.array, None, layer)
            delta, gradient, scale = np.zeros_like(answer.gradient), answer.gradient, answer.scale
            state = State(state.tokens, answer.loss)
        else:
            last = memory.get(_PERTURBATION) or (state.latent and state.latent.to_json())
            delta, gradient, scale = _array(last), _array(memory[_GRADIENT]), memory[_SCALE]
        assert problem.radius is not None  # no perturbation is answered without one
        radius = problem.radius * scale
        step = self.params.step_size * radius * unit_gradients(gradient)
        new = Latent.of(project_to_ball(delta - step, radius), layer)
        answer = yield Perturb(state.array, new.array, layer)
        memory = {_GRADIENT: Latent.of(answer.gradient, layer).to_json(), _SCALE: scale}
        if self.params.keep == "best_so_far" and state.loss is not None and not answer.loss < state.loss:
            return State(state.tokens, state.loss, memory | {_PERTURBATION: new.to_json()}, state.latent)
        return State(state.tokens, answer.loss, memory, new)


def _array(stored: Any) -> Floats:
    return Latent.from_json(stored).array


def unit_gradients(gradient: Floats) -> Floats:
    """Each token's gradient [S, H] at Euclidean length 1; zero where it is zero."""
    length = np.linalg.norm(gradient, axis=1, keepdims=True)
    return np.divide(gradient, length, out=np.zeros_like(gradient), where=length > 0)


def project_to_ball(delta: Floats, radius: float) -> Floats:
    """The perturbation [S, H] nearest to ``delta`` in which no token's row is longer than ``radius`` (Euclidean)."""
    length = np.linalg.norm(delta, axis=1, keepdims=True)
    return delta * np.minimum(1.0, np.divide(radius, length, out=np.ones_like(length), where=length > 0))


@hookimpl
def harness_register_attacks(register):
    register(LatentAttack)
