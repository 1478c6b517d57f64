"""What people write about training. Imports no torch, so that specs can be checked without it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from harness.api.params import Params


class TrainConfig(Params):
    """How a model is trained; the defaults are the recipe of arXiv 2407.18213."""

    epochs: PositiveFloat = Field(3.0, description="passes over the examples; ignored when steps is given")
    steps: PositiveInt | None = Field(None, description="weight updates, instead of epochs")
    learning_rate: PositiveFloat = Field(1e-5, description="at its peak")
    optimizer: Literal["adafactor", "adamw"] = Field("adafactor", description="which optimiser")
    schedule: Literal["linear", "cosine", "constant"] = Field("linear", description="decay of the learning rate, to 0")
    warmup_steps: NonNegativeInt = Field(0, description="updates over which the learning rate rises to its peak")
    batch_size: PositiveInt = Field(8, description="examples per update")
    weight_decay: NonNegativeFloat = Field(0.0, description="decoupled weight decay")
    max_grad_norm: PositiveFloat = Field(1.0, description="gradients are scaled down to this norm")

    def total_steps(self, rows: int) -> int:
        """Number of weight updates on ``rows`` examples."""
        if self.steps is not None:
            return self.steps
        per_epoch = -(-rows // self.batch_size)
        return max(1, round(self.epochs * per_epoch))
