"""The classifier that a guard or a judge asks: its parameters, and the probability of some of its classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from harness import Auxiliary, Params, VictimRef


class ClassifierParams(Params):
    """A victim that classifies, and the names of its classes."""

    model: VictimRef = Field(description="a victim that classifies, e.g. {huggingface: {model: ..., fine_tune: false}}")
    classes: tuple[str, ...] = Field(
        min_length=2, description="names of its classes, in the model's order unless the model knows these names"
    )

    @model_validator(mode="after")
    def _different_classes(self) -> Self:
        names = self.class_names
        if len(set(names)) < len(names) or not all(names):
            raise ValueError(f"`classes` must be different names, one per class, got {list(self.classes)}")
        return self

    @property
    def class_names(self) -> list[str]:
        """The classes, without white space around their names."""
        return [name.strip() for name in self.classes]

    @property
    def auxiliary(self) -> Auxiliary:
        """The classifier, used as it is; its labels begin with the space with which a language model would say them."""
        return Auxiliary(self.model, sees="nothing", labels=tuple(f" {name}" for name in self.class_names))

    def probability(self, logits: Any, indices: Sequence[int]) -> float | None:
        """Probability of some classes: of classes that exclude each other the sum, else the highest.

        Args:
            logits: of one text, shape [classes], or [classes, 2] where classes do not exclude each other (see
                `harness.Classify`); NaN where the text is longer than the classifier's context.
            indices: of the classes.

        Returns:
            from 0 to 1; None where the logits are not finite, or not one per class.
        """
        row = np.asarray(logits, dtype=np.float64)
        if row.shape not in ((len(self.classes),), (len(self.classes), 2)) or not np.isfinite(row).all():
            return None
        weights = np.exp(row - row.max(axis=-1, keepdims=True))
        probabilities = weights / weights.sum(axis=-1, keepdims=True)
        if row.ndim == 2:
            return float(probabilities[list(indices), 1].max())
        return float(probabilities[list(indices)].sum())
