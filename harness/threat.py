"""The threat model: where the attack string goes, how long it is, and what the attacker may see."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

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

    @property
    def fraction(self) -> float:
        """Position as a fraction of the chunk's tokens, 0 = before the first, 1 = after the last."""
        return POSITIONS[self.position] if isinstance(self.position, str) else float(self.position)

    def label(self) -> str:
        """Short name for tables."""
        return f"{self.position}, {self.tokens} tokens, {self.access}"
