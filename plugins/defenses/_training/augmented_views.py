"""Perturbed views of an example, and how strong they are: random tokens and characters in the attackable region."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from harness import Chunk, Edit, Example, Params, Problem, Threat, Tokenizer, allowed_tokens, place

Kind = Literal["random_tokens", "characters"]
PRINTABLE = "".join(map(chr, range(32, 127)))
PER_TOKEN = 4  # characters that stand for a token where a region has none of its own


class Curriculum(Params):
    """Strength of the views, 0 to 1: from ``start`` at the first update of round 1 to ``end`` at the end of round
    ``rounds``, and ``end`` after that.
    """

    start: float = Field(0.1, ge=0, le=1)
    end: float = Field(1.0, ge=0, le=1)
    rounds: PositiveInt = Field(4, description="the absolute round at whose end `end` is reached")
    shape: Literal["linear", "cosine", "constant"] = Field(
        "linear", description="constant: always `end`, for comparison with a training without curriculum"
    )

    @model_validator(mode="after")
    def _grows(self) -> Curriculum:
        if self.start > self.end:
            raise ValueError(f"strength grows with training: start {self.start:g} must not be above end {self.end:g}")
        return self

    def strength(self, round: int, share: float) -> float:
        """In a round (from 1), of which a ``share`` is done."""
        if self.shape == "constant":
            return self.end
        at = min(1.0, (round - 1 + share) / self.rounds)
        at = at if self.shape == "linear" else 0.5 - 0.5 * math.cos(math.pi * at)
        return self.start + at * (self.end - self.start)


class Viewer:
    """Draws views for one victim under one threat model.

    Attributes:
        tokens: random tokens of a view at full strength.
        share: of the region's characters that a view changes at full strength.
        widest: the threat model with room for that many tokens.
    """

    def __init__(self, tokenizer: Tokenizer, threat: Threat, tokens: int, share: float) -> None:
        self.tokens, self.share = tokens, share
        self.widest = threat.model_copy(update={"tokens": tokens})
        self._tokenizer, self._allowed = tokenizer, allowed_tokens(tokenizer, threat)
        self._places: dict[str, Problem] = {}

    def count(self, strength: float) -> int:
        """Random tokens at a strength: at least one."""
        return max(1, int(strength * self.tokens + 0.5))

    def schedule(self, strengths: Sequence[float]) -> list[dict[str, float]]:
        """What a view may be at each update, as JSON data; updates (from 1) that do not differ are told once."""
        found: list[dict[str, float]] = []
        for update, strength in enumerate(strengths, start=1):
            now = {"tokens": self.count(strength), "characters": round(strength * self.share, 4)}
            if not found or any(found[-1][name] != value for name, value in now.items()):
                found.append({"update": update, "strength": round(strength, 4), **now})
        return found

    def view(self, example: Example, kind: Kind, strength: float, rng: np.random.Generator) -> str:
        """The prompt with a perturbation of that strength, as text."""
        problem = self._places.get(example.id)
        if problem is None:
            problem = self._places[example.id] = place(example, self.widest, self._tokenizer, self._allowed)
        if kind == "random_tokens":
            return problem.prompts(rng.choice(self._allowed, size=(1, self.count(strength))))[0]
        region = example.chunks[example.region]
        if not region.text:
            letters = rng.integers(len(PRINTABLE), size=PER_TOKEN * self.count(strength))
            return problem.prompt("".join(PRINTABLE[i] for i in letters))
        chunks = list(example.chunks)
        chunks[example.region] = Chunk(mistyped(region.text, strength * self.share, rng), Edit.PERTURBABLE)
        return "".join(chunk.text for chunk in chunks)


def mistyped(text: str, share: float, rng: np.random.Generator) -> str:
    """A text of which a ``share`` of the characters (at least one) is swapped with the next one, left out, doubled or
    replaced by a random printable one.
    """
    found = list(text)
    places = rng.choice(len(text), size=max(1, int(share * len(text) + 0.5)), replace=False)
    for at in sorted(map(int, places), reverse=True):  # from the end on, so that earlier places stay where they are
        what = int(rng.integers(4))
        if what == 0 and at + 1 < len(found):
            found[at], found[at + 1] = found[at + 1], found[at]
        elif what == 1:
            del found[at]
        elif what == 2:
            found.insert(at, found[at])
        else:
            found[at] = PRINTABLE[int(rng.integers(len(PRINTABLE)))]
    return "".join(found)
