"""How the victim answers attack strings in text: once and greedily, or with several answers that are drawn."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

USUAL_TEMPERATURE = 1.0  # of several answers, where none is written


class AnswerSampling(BaseModel):
    """The field ``answers`` of a spec. By default one greedy answer of the task's own length."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    samples: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1, description="answers to each attack string; every one is judged and recorded"
    )
    temperature: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = Field(
        default=None,
        description="they are drawn at; left out: greedy for one answer, 1.0 for several (a server that draws at a "
        "temperature of its own keeps that)",
    )
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="draw from the most likely tokens that together have this probability"
    )
    max_tokens: PositiveInt | None = Field(
        default=None, description="longest answer, including clean ones; left out: the task's answer_tokens"
    )

    @model_validator(mode="after")
    def _says_what_it_does(self) -> AnswerSampling:
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(
                f"{self.samples} answers at temperature 0 are all the same; write a temperature above 0, or samples: 1"
            )
        if self.top_p < 1 and not self.drawn:
            raise ValueError("top_p is for answers that are drawn, and a greedy one is not; add temperature")
        return self

    @property
    def drawn_at(self) -> float:
        """The temperature; 0 is greedy."""
        if self.temperature is None:
            return USUAL_TEMPERATURE if self.samples > 1 else 0.0
        return float(self.temperature)

    @property
    def drawn(self) -> bool:
        """Whether answers are drawn."""
        return self.drawn_at > 0

    def longest(self, answer_tokens: int) -> int:
        """Tokens of the longest answer, of a task whose own are so many."""
        return self.max_tokens or answer_tokens

    def identity(self) -> dict[str, Any] | None:
        """What of it changes numbers; None of the default, so that keys are those of before there was a choice."""
        if self == AnswerSampling() or (self.samples == 1 and self.max_tokens is None and not self.drawn):
            return None
        data: dict[str, Any] = {"samples": self.samples, "max_tokens": self.max_tokens}
        return data | {"temperature": self.drawn_at, "top_p": float(self.top_p)}


GREEDY = AnswerSampling()
"""One greedy answer of the task's own length."""
