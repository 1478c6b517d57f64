"""Faulty toys: a backend whose losses are NaN, and a model that gives the same answer to everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from harness.api.model.backend import (
    Ability,
    Differentiated,
    Generated,
    GenerateItem,
    GradientItem,
    Perturbed,
    PerturbItem,
    Scored,
    ScoreItem,
)


class Numberless:
    """A backend whose losses are NaN, and which otherwise answers as another backend does."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def score(self, items: Sequence[ScoreItem]) -> list[Scored]:
        """Logits and losses of each item's candidates."""
        return [replace(one, losses=np.full(len(one.losses), np.nan)) for one in self._backend.score(items)]

    def gradient(self, items: Sequence[GradientItem]) -> list[Differentiated]:
        """The loss of each item's string, and the tokens with the most negative one-hot gradient at each position."""
        return [replace(o, answer=replace(o.answer, loss=float("nan"))) for o in self._backend.gradient(items)]

    def perturb(self, items: Sequence[PerturbItem]) -> list[Perturbed]:
        """The loss under each item's perturbation, and its gradient by the activations."""
        return [replace(o, answer=replace(o.answer, loss=float("nan"))) for o in self._backend.perturb(items)]


class Says:
    """A model that gives the same answer to everything: a text, or label logits.

    Attributes:
        asked: how many prompts it answered.
    """

    n_params = n_params_non_embedding = 1
    context = 1 << 20

    def __init__(self, tokenizer: Any, text: str, labels: int = 0, logit: float = 0.0) -> None:
        self.tokenizer, self.text, self.n_labels, self.logit = tokenizer, text, labels, logit
        self.abilities: frozenset[Ability] = frozenset({"classify"} if labels else {"generate"})
        self.asked = 0

    def generate(self, items: Sequence[GenerateItem]) -> list[Generated]:
        """An answer in text to each item."""
        self.asked += len(items)
        return [Generated(self.text, True, 1, 1, 1.0) for _ in items]

    def classify(self, rows: Sequence[Any]) -> tuple[Any, list[float]]:
        """Label logits, shape [rows, labels], and the FLOPs of each row."""
        self.asked += len(rows)
        return np.full((len(rows), self.n_labels), self.logit, dtype=np.float64), [1.0] * len(rows)

    def describe(self) -> dict[str, object]:
        """What the manifest says."""
        return {"head": "says the same to everything"}
