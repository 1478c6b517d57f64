"""The threat model: where the attack string goes, how long it is, and what the attacker may see."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from harness.params import Params

Access = Literal["gradient", "scores", "text"]
_RANK: dict[Access, int] = {"text": 0, "scores": 1, "gradient": 2}
POSITIONS: dict[str, float] = {"prefix": 0.0, "infix": 0.9, "suffix": 1.0}


def allows(granted: Access, wanted: Access) -> bool:
    """Whether access ``granted`` includes ``wanted`` (gradient ⊃ scores ⊃ text)."""
    return _RANK[granted] >= _RANK[wanted]


class Threat(Params):
    """What the attacker may do; part of every cell's identity.

    Source of the positions: "Scaling Trends in Language Model Robustness", arXiv 2407.18213 (there measured in
    characters, here in tokens).
    """

    position: Literal["prefix", "infix", "suffix"] | Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        "suffix", description="where in a perturbable chunk the attack string goes: a name, or a fraction of its tokens"
    )
    tokens: PositiveInt = Field(10, le=4096, description="length of the attack string in the victim's tokens")
    access: Access = Field("gradient", description="the most that the attacker may ask for")
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
    flops: PositiveFloat | None = Field(
        None, description="nominal FLOPs that the attack may spend per example, defenses included; none: no limit"
    )

    @property
    def fraction(self) -> float:
        """Position as a fraction of the chunk's tokens, 0 = before the first, 1 = after the last."""
        return POSITIONS[self.position] if isinstance(self.position, str) else float(self.position)

    def label(self) -> str:
        """Short name for tables."""
        parts = [f"{self.position}, {self.tokens} tokens, {self.access}"]
        parts += [] if self.edit == "as_task" else [self.edit]
        parts += [] if self.alphabet == "all" else [self.alphabet.replace("_", " ")]
        parts += [] if self.queries is None else [f"{self.queries} queries"]
        parts += [] if self.flops is None else [f"{self.flops:g} FLOPs"]
        return ", ".join(parts)

    def unlimited(self) -> Threat:
        """The same without limits on what the attack spends; for what is no evaluation."""
        return self.model_copy(update={"queries": None, "flops": None})
