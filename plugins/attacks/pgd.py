"""PGD: projected gradient descent on relaxed strings, which are made strings of tokens after each update."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from harness import Attack, Floats, RelaxedAnswer, hookimpl
from plugins.attacks._common.relaxed.adam import Adam
from plugins.attacks._common.relaxed.search import RelaxedSearch
from plugins.attacks._common.relaxed.simplex import project_to_entropy, project_to_simplex
from plugins.attacks._common.stored_array import decode_array, encode_array

_WEIGHTS = "weights"  # key of a state's memory
LONGEST_GRADIENT = 20.0  # of a position, Euclidean, as in the authors' code


class PGD(RelaxedSearch):
    """Projected gradient descent on relaxed one-hot strings: Adam moves the mixtures of tokens at all positions at
    once, projections keep them mixtures and make them sharp, and the string of their heaviest tokens is scored. The
    best string so far is judged.
    """

    name = "pgd"
    access = "gradient"
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

    def mixtures(self, memory: Mapping[str, Any], shape: tuple[int, int], rng: np.random.Generator) -> Projected:
        """Of a search that begins, uniform numbers divided by their sum."""
        if memory:
            weights = decode_array(memory[_WEIGHTS], shape).astype(np.float64)
        else:
            weights = rng.random(shape)
            weights /= weights.sum(axis=1, keepdims=True)
        p = self.params
        return Projected(weights, Adam.from_json(memory, shape, p.learning_rate), p.entropy, p.anneal)


@dataclass
class Projected:
    """Mixtures that Adam moves, and two projections put back.

    Attributes:
        weights: shape [S, A].
        entropy, anneal: as in the parameters.
    """

    weights: Floats
    adam: Adam
    entropy: float
    anneal: int

    def update(self, answer: RelaxedAnswer, rng: np.random.Generator) -> None:
        """One step of Adam, onto the simplex, and towards single tokens as strongly as so many updates allow."""
        moved = project_to_simplex(self.weights - self.adam.step(clipped(answer.gradient)))
        strength = self.entropy * min(1.0, self.adam.updates / self.anneal if self.anneal else 1.0)
        self.weights = project_to_entropy(moved, strength)

    def to_json(self) -> dict[str, Any]:
        """For a state's memory, rounded to float32."""
        return {_WEIGHTS: encode_array(self.weights)} | self.adam.to_json()


def clipped(gradient: Floats) -> Floats:
    """The gradient [S, A], no position's longer than `LONGEST_GRADIENT`."""
    length = np.linalg.norm(gradient, axis=1, keepdims=True)
    return gradient * np.minimum(1.0, LONGEST_GRADIENT / np.maximum(length, LONGEST_GRADIENT))


@hookimpl
def harness_register_attacks(register):
    register(PGD)
