"""Augmented views of an example: random tokens or typos in the attackable region, of a strength that grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field, PositiveInt

from harness import Chunk, Edit, Example, Problem, Threat, Tokenizer, allowed_tokens, place
from plugins._common.curriculum import Growth
from plugins._common.typos import PRINTABLE, add_typos

ViewKind = Literal["random_tokens", "characters"]
CHARACTERS_PER_TOKEN = 4  # random characters of a view per token, where the region has no text


class Curriculum(Growth):
    """Strength of the views, 0 to 1: from ``start`` at the first update of round 1 to ``end`` at the end of round
    ``rounds``, and ``end`` after that.
    """

    start: float = Field(0.1, ge=0, le=1, description="strength at the first update of round 1")
    end: float = Field(1.0, ge=0, le=1, description="strength from the end of round `rounds` on")
    rounds: PositiveInt = Field(4, description="the absolute round at whose end `end` is reached")

    def strength(self, round: int, share: float) -> float:
        """Strength in a round, counted from 1, of which a ``share`` from 0 to 1 is done."""
        return self.at((round - 1 + share) / self.rounds)


class ViewSampler:
    """Draws views for one victim under one threat model.

    Attributes:
        tokens: random tokens of a view at strength 1.
        share: of the region's characters that a view changes at strength 1.
        longest_threat: the threat model with room for that many tokens.
    """

    def __init__(self, tokenizer: Tokenizer, threat: Threat, tokens: int, share: float) -> None:
        self.tokens, self.share = tokens, share
        self.longest_threat = threat.model_copy(update={"tokens": tokens})
        self._tokenizer, self._allowed = tokenizer, allowed_tokens(tokenizer, threat)
        self._problems: dict[str, Problem] = {}

    def token_count(self, strength: float) -> int:
        """Random tokens of a view at a strength from 0 to 1: at least one."""
        return max(1, int(strength * self.tokens + 0.5))

    def schedule(self, strengths: Sequence[float]) -> list[dict[str, float]]:
        """The size of a view at each update, as JSON data; of updates (from 1) that do not differ the first alone.

        Args:
            strengths: at each update.
        """
        changes: list[dict[str, float]] = []
        for update, strength in enumerate(strengths, start=1):
            size = {"tokens": self.token_count(strength), "characters": round(strength * self.share, 4)}
            if not changes or any(changes[-1][name] != value for name, value in size.items()):
                changes.append({"update": update, "strength": round(strength, 4), **size})
        return changes

    def view(self, example: Example, kind: ViewKind, strength: float, rng: np.random.Generator) -> str:
        """The example's prompt with a random perturbation of that kind and strength, as text."""
        problem = self._problems.get(example.id)
        if problem is None:
            problem = self._problems[example.id] = place(example, self.longest_threat, self._tokenizer, self._allowed)
        if kind == "random_tokens":
            return problem.prompts(rng.choice(self._allowed, size=(1, self.token_count(strength))))[0]
        region = example.chunks[example.region]
        if not region.text:
            letters = rng.integers(len(PRINTABLE), size=CHARACTERS_PER_TOKEN * self.token_count(strength))
            return problem.prompt("".join(PRINTABLE[i] for i in letters))
        chunks = list(example.chunks)
        chunks[example.region] = Chunk(add_typos(region.text, strength * self.share, rng), Edit.PERTURBABLE)
        return "".join(chunk.text for chunk in chunks)
