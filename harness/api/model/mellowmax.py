"""Mellowmax: between the mean of some numbers and the largest of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.tokens.tokenizer import Floats


@dataclass(frozen=True, slots=True)
class Mellowmax:
    """log(mean(exp(αx))) / α of numbers x: near their mean for a small α, near the largest for a large one. It rises
    with each of them, and its gradient by them is their softmax at α.

    Source: Asadi and Littman 2017, 'An Alternative Softmax Operator for Reinforcement Learning', arXiv 1612.05628.

    Attributes:
        alpha: in 1/nats, above 0.

    Raises:
        ValueError: another alpha.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        if not (self.alpha > 0 and math.isfinite(self.alpha)):
            raise ValueError(f"Mellowmax.alpha must be above 0 and finite, got {self.alpha}")

    def of(self, numbers: Floats) -> Floats:
        """Over the last axis: [..., n] to [...], n at least 1."""
        top = numbers.max(axis=-1, keepdims=True)
        found: Floats = top[..., 0] + np.log(np.exp(self.alpha * (numbers - top)).mean(axis=-1)) / self.alpha
        return found
