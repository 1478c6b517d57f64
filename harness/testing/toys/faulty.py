"""Toys in trouble: losses that are no number, models that say nonsense."""

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
    """A backend whose losses are NaN: what it is asked, it answers as another backend does, but without a loss."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def score(self, items: Sequence[ScoreItem]) -> list[Scored]:
        """As `harness.Backend`."""
        return [replace(one, losses=np.full(len(one.losses), np.nan)) for one in self._backend.score(items)]

    def gradient(self, items: Sequence[GradientItem]) -> list[Differentiated]:
        """As `harness.Backend`."""
        return [replace(o, answer=replace(o.answer, loss=float("nan"))) for o in self._backend.gradient(items)]

    def perturb(self, items: Sequence[PerturbItem]) -> list[Perturbed]:
        """As `harness.Perturbable`."""
        return [replace(o, answer=replace(o.answer, loss=float("nan"))) for o in self._backend.perturb(items)]


class Says:
    """A model beside the victim that says the same to everything: a text, or label logits.

    Attributes:
        asked: how many prompts it was asked.
    """

    n_params = n_params_non_embedding = 1
    context = 1 << 20

    def __init__(self, tokenizer: Any, text: str, labels: int = 0, logit: float = 0.0) -> None:
        self.tokenizer, self.text, self.n_labels, self.logit = tokenizer, text, labels, logit
        self.abilities: frozenset[Ability] = frozenset({"classify"} if labels else {"generate"})
        self.asked = 0

    def generate(self, items: Sequence[GenerateItem]) -> list[Generated]:
        """As `harness.Backend`."""
        self.asked += len(items)
        return [Generated(self.text, True, 1, 1, 1.0) for _ in items]

    def classify(self, rows: Sequence[Any]) -> tuple[Any, list[float]]:
        """As `harness.Backend`."""
        self.asked += len(rows)
        logits = np.arange(len(rows) * self.n_labels, dtype=np.float64).reshape(len(rows), self.n_labels)
        return logits * 0.0 + self.logit, [1.0] * len(rows)

    def describe(self) -> dict[str, object]:
        """As `harness.Backend`."""
        return {"head": "says the same to everything"}
