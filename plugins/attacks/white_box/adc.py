"""ADC: relaxed strings that become sparser the more of the target's tokens are right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp
from typing import Any

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from harness import AccessError, Attack, Floats, RelaxedAnswer, hookimpl
from plugins.attacks._common.relaxed.search import RelaxedSearch
from plugins.attacks._common.relaxed.simplex import project_to_sparse
from plugins.attacks._common.stored_array import decode_array, encode_array

_WEIGHTS, _VELOCITY = "weights", "velocity"  # keys of a state's memory


class ADC(RelaxedSearch):
    """Adaptive dense-to-sparse optimisation: gradient descent with a high momentum moves relaxed one-hot strings, and
    after each update as few entries of a position are left as the number of wrong target tokens allows. The string of
    the heaviest tokens is scored, and the best string so far is judged.
    """

    name = "adc"
    access = "gradient"
    paper = (
        "Hu et al. 2024, 'Efficient LLM Jailbreak via Adaptive Dense-to-sparse Constrained Optimization', "
        "arXiv 2405.09113"
    )

    class Params(Attack.Params):
        steps: PositiveInt = Field(16, description="how many steps to run; each is judged and recorded")
        updates: PositiveInt = Field(8, description="updates of the relaxed string per step")
        learning_rate: PositiveFloat = Field(10.0, allow_inf_nan=False, description="of gradient descent")
        momentum: float = Field(
            0.99, ge=0, lt=1, description="how much of the last update's velocity is kept in the next"
        )
        prompts: PositiveInt = Field(
            1, description="examples that share one string, a universal one: losses and gradients are means over them"
        )

    def mixtures(self, memory: Mapping[str, Any], shape: tuple[int, int], rng: np.random.Generator) -> Sparse:
        """Of a search that begins, the softmax of normal numbers, at rest."""
        if memory:
            weights, velocity = (decode_array(memory[name], shape).astype(np.float64) for name in (_WEIGHTS, _VELOCITY))
        else:
            weights, velocity = np.exp(rng.normal(size=shape)), np.zeros(shape)
            weights /= weights.sum(axis=1, keepdims=True)
        return Sparse(weights, velocity, self.params.learning_rate, self.params.momentum)


@dataclass
class Sparse:
    """Mixtures that gradient descent moves, and of whose entries few are left.

    Attributes:
        weights, velocity: shape [S, A].
        learning_rate, momentum: as in the parameters.
    """

    weights: Floats
    velocity: Floats
    learning_rate: float
    momentum: float

    def update(self, answer: RelaxedAnswer, rng: np.random.Generator) -> None:
        """One step down, and the heaviest entries."""
        self.velocity = self.momentum * self.velocity + answer.gradient
        moved = self.weights - self.learning_rate * self.velocity
        self.weights = project_to_sparse(moved, entries_left(answer, moved.shape[1]), rng)

    def to_json(self) -> dict[str, Any]:
        """For a state's memory, rounded to float32."""
        return {_WEIGHTS: encode_array(self.weights), _VELOCITY: encode_array(self.velocity)}


def entries_left(answer: RelaxedAnswer, most: int) -> float:
    """How many entries of a position are left: e to the power of the number of wrong target tokens, at most all."""
    if answer.wrong is None:
        raise AccessError("adc has to know how many target tokens are wrong, and this victim does not say; use pgd")
    return min(float(most), exp(min(answer.wrong, 50.0)))


@hookimpl
def harness_register_attacks(register):
    register(ADC)
