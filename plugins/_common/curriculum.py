"""A strength that grows while a model is trained."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from harness import Params


class Growth(Params):
    """Strength of perturbations over a training, 0 to 1: from ``start`` to ``end``, and ``end`` after that."""

    start: float = Field(0.1, ge=0, le=1, description="strength at the first update")
    end: float = Field(1.0, ge=0, le=1, description="strength at the end")
    shape: Literal["linear", "cosine", "constant"] = Field(
        "linear", description="constant: always `end`, for comparison with a training without curriculum"
    )

    @model_validator(mode="after")
    def _grows(self) -> Growth:
        if self.start > self.end:
            raise ValueError(f"strength grows with training: start {self.start:g} must not be above end {self.end:g}")
        return self

    def at(self, progress: float) -> float:
        """Strength when a share ``progress`` of the training is done; beyond 1 as at 1."""
        if self.shape == "constant":
            return self.end
        progress = min(1.0, progress)
        progress = progress if self.shape == "linear" else 0.5 - 0.5 * math.cos(math.pi * progress)
        return self.start + progress * (self.end - self.start)
