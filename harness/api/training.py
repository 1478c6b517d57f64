"""What a victim is trained on, and how: rows of token ids, and the recipe. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from harness.api.params import Params
from harness.api.problem.latent import Latent

LORA_LEARNING_RATE = 2e-4


class Lora(Params):
    """A low-rank adapter (Hu et al. 2021, arXiv 2106.09685), trained instead of the weights, which stay as they are."""

    r: PositiveInt = Field(16, description="rank")
    alpha: PositiveFloat = Field(32.0, description="the adapter is scaled by alpha / r")
    targets: Literal["all-linear"] | tuple[str, ...] = Field(
        "all-linear", min_length=1, description="names of the layers that get one; by default all but the head"
    )


class LoraParams(Params):
    """Base of parameters of a training: an adapter may be trained instead of all weights.

    With ``lora`` and no ``learning_rate`` the rate is 2e-4. Without ``lora`` the parameters count as those that never
    had one.
    """

    lora: Lora | None = Field(None, description="train an adapter of low rank, not the weights: r, alpha, targets")

    @model_validator(mode="before")
    @classmethod
    def _rate_of_adapters(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("lora") is not None and "learning_rate" not in values:
            return values | {"learning_rate": LORA_LEARNING_RATE}
        return values

    @model_serializer(mode="wrap")
    def _without_no_lora(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped: dict[str, Any] = serialize(self)
        return {name: value for name, value in dumped.items() if name != "lora" or value is not None}


class TrainConfig(LoraParams):
    """How a model is trained; the defaults are the recipe of arXiv 2407.18213."""

    epochs: PositiveFloat = Field(3.0, description="passes over the examples; ignored when steps is given")
    steps: PositiveInt | None = Field(None, description="weight updates, instead of epochs")
    learning_rate: PositiveFloat = Field(
        1e-5, description=f"the highest learning rate; with lora {LORA_LEARNING_RATE:g} by default"
    )
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


@dataclass(frozen=True, slots=True)
class TrainRow:
    """A sequence to learn from.

    Attributes:
        ids: the whole prompt, with the special ids around it; for a language model, what it is to say follows.
        label: index of the right label; `NO_LABEL` for a language model.
        start: for a language model, the first place whose token it learns to say; None with a label.
        latent: a perturbation of activations under which the row is learnt, if any.
        latent_at: the place of its first token.
    """

    ids: tuple[int, ...]
    label: int
    start: int | None = None
    latent: Latent | None = None
    latent_at: int = 0

    @property
    def says(self) -> range:
        """The places of the tokens that a language model learns to say: none before has told it the first one."""
        return range(0) if self.start is None else range(max(1, self.start), len(self.ids))
