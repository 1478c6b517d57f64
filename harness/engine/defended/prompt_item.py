"""A prompt on its way through the defenses to the victim."""

from __future__ import annotations

from dataclasses import dataclass

from harness.api.problem.latent import Latent
from harness.api.problem.problem import Problem
from harness.tokens.tokenizer import Target

Names = tuple[str | int, ...]


@dataclass(frozen=True)
class PlacedLatent:
    """A perturbation in its place.

    Attributes:
        start: the first position that it is added at, special tokens counted.
        radius: one that is longer, in units of the activations' mean norm, gets no answer.
    """

    latent: Latent
    start: int
    radius: float

    @classmethod
    def of(cls, latent: Latent | None, problem: Problem) -> PlacedLatent | None:
        """A perturbation where the problem's attack string stands, of at most the threat model's radius; None for
        none.
        """
        return None if latent is None else cls(latent, len(problem.before), problem.radius or 0.0)


@dataclass(frozen=True)
class PromptItem:
    """A prompt on its way.

    Attributes:
        names: what the randomness of its treatment depends on.
        target: ids whose NLL is wanted as well, of an answer in text.
        ids: its tokens without special ones, where they are not simply the tokenizer's.
        max_tokens, temperature, seed: of an answer in text; ``max_tokens`` None is the victim's own.
        one_pass: for a loss: blocked prompts with a finite penalty go on, a vote draws one copy.
        penalty: what the guards that it has met raise its loss by, in nats.
        perturbation: what is added to the activations at its attack string; None: nothing.
    """

    text: str
    names: Names = ()
    target: Target | None = None
    ids: tuple[int, ...] | None = None
    max_tokens: int | None = None
    temperature: float = 0.0
    seed: int = 0
    one_pass: bool = False
    penalty: float = 0.0
    perturbation: PlacedLatent | None = None

    @property
    def in_text(self) -> bool:
        """Whether a text is asked for, whatever the victim answers with by itself."""
        return self.max_tokens is not None
