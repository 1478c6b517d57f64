"""The threat model: where the attack string goes, how long it is, and what the attacker may see."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from harness.api.params import Params

Access = Literal["latent", "gradient", "scores", "text"]
_RANK: dict[Access, int] = {"text": 0, "scores": 1, "gradient": 2, "latent": 3}
POSITIONS: dict[str, float] = {"prefix": 0.0, "infix": 0.9, "suffix": 1.0}
ANSWER = "answer"
"""The position of a string with which the answer begins (a prefill)."""


def allows(granted: Access, wanted: Access) -> bool:
    """Whether access ``granted`` includes ``wanted`` (latent ⊃ gradient ⊃ scores ⊃ text)."""
    return _RANK[granted] >= _RANK[wanted]


class Threat(Params):
    """What the attacker may do; part of every cell's identity.

    Source of the positions: "Scaling Trends in Language Model Robustness", arXiv 2407.18213 (there measured in
    characters, here in tokens).
    """

    position: Literal["prefix", "infix", "suffix", "answer"] | Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        "suffix",
        description="where in a perturbable chunk the attack string goes: a name, or a fraction of its tokens; answer: "
        "the attacker writes the beginning of the answer (a prefill), and leaves the prompt as it is",
    )
    tokens: PositiveInt = Field(10, le=4096, description="length of the attack string in the victim's tokens")
    access: Access = Field(
        "gradient",
        description="the most that the attacker may ask for; latent: it may also perturb activations at the attack "
        "string, which is not a text attack",
    )
    radius: PositiveFloat | None = Field(
        None,
        allow_inf_nan=False,
        description="of access latent: largest L2 norm of the perturbation of a token, as a multiple of the mean L2 "
        "norm of the activations that it is added to",
    )
    edit: Literal["as_task", "insert", "replace"] = Field(
        "as_task",
        description="what happens to the text of the changeable chunk: as the task says, kept with the attack string "
        "inserted, or replaced by it",
    )
    alphabet: Literal["all", "printable_ascii"] = Field(
        "all", description="tokens that the attack string may have: all but special ones, or those of printable ASCII"
    )
    queries: PositiveInt | None = Field(
        None, description="sequences that the attack may have answered per example; none: as many as its steps take"
    )
    turns: PositiveInt = Field(
        1, le=100, description="of a conversation that the attacker may take; the last one holds the attack string"
    )
    flops: PositiveFloat | None = Field(
        None, description="nominal FLOPs that the attack may spend per example, defenses included; none: no limit"
    )

    asks: PositiveInt | None = Field(
        None,
        le=1000,
        description="answers that the attacker may ask for with each step's string: one success is enough, and all "
        "count as its compute and queries; none: one, which counts as judging",
    )

    @model_validator(mode="after")
    def _asks_within_queries(self) -> Threat:
        if self.asks is not None and self.queries is not None and self.queries < self.asks:
            raise ValueError(f"queries: {self.queries} is too few for asks: {self.asks}; each answer is a query")
        return self

    @model_validator(mode="after")
    def _radius_with_latent(self) -> Threat:
        if self.access == "latent" and self.radius is None:
            raise ValueError("access: latent needs a limit on the perturbation; add radius, such as radius: 0.5")
        if self.access != "latent" and self.radius is not None:
            raise ValueError(f"radius limits a perturbation, and access: {self.access} allows none; remove one of them")
        return self

    @model_validator(mode="after")
    def _answer_stands_alone(self) -> Threat:
        if self.begins_answer and self.turns > 1:
            raise ValueError("position: answer is the beginning of one answer; leave out turns")
        if self.begins_answer and self.edit != "as_task":
            raise ValueError("position: answer leaves the prompt as it is; leave out edit")
        return self

    def identity(self) -> dict[str, Any]:
        """As `Params.identity`; without a radius where there is none, or turns where it is one: keys are those of
        before there were such.
        """
        whole = super().identity()
        left_out = {"radius": None, "turns": 1}
        return {name: value for name, value in whole.items() if name not in left_out or value != left_out[name]}

    @model_serializer(mode="wrap")
    def _as_before(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Without `asks` where there is none, so that records, and keys of parameters that hold a threat, stay.
        whole: dict[str, Any] = serialize(self)
        return {name: value for name, value in whole.items() if name != "asks" or value is not None}

    @property
    def begins_answer(self) -> bool:
        """Whether the attack string is the beginning of the answer."""
        return self.position == ANSWER

    @property
    def fraction(self) -> float:
        """Position as a fraction of the chunk's tokens, 0 = before the first, 1 = after the last. Of `ANSWER` there is
        none.
        """
        return POSITIONS[self.position] if isinstance(self.position, str) else float(self.position)

    def label(self) -> str:
        """Short name of the threat model for tables."""
        where = "beginning of the answer" if self.begins_answer else self.position
        parts = [f"{where}, {self.tokens} tokens, {self.access}"]
        parts += [] if self.radius is None else [f"radius {self.radius:g}"]
        parts += [] if self.edit == "as_task" else [self.edit]
        parts += [] if self.alphabet == "all" else [self.alphabet.replace("_", " ")]
        parts += [] if self.turns == 1 else [f"{self.turns} turns"]
        parts += [] if self.queries is None else [f"{self.queries} queries"]
        parts += [] if self.flops is None else [f"{self.flops:g} FLOPs"]
        parts += [] if self.asks is None else [f"{self.asks} asks" if self.asks > 1 else "1 ask"]
        return ", ".join(parts)

    def unlimited(self) -> Threat:
        """The same without limits on what the attack spends; for what is no evaluation."""
        return self.model_copy(update={"queries": None, "flops": None, "asks": None})
