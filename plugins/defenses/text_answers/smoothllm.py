"""SmoothLLM: a vote on whether copies of the prompt with random characters changed are answered or refused."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field, PositiveInt, field_validator

from harness import Case, Params, VoteDefense, hookimpl
from plugins.judges._refusals import REFUSAL_PHRASES, is_refusal, normalise_text

ALPHABET = tuple(string.printable)  # the paper's: letters, digits, punctuation, white space
Perturbation = Literal["insert", "swap", "patch"]


class SmoothLLM(VoteDefense):
    """Answers several copies of a prompt, each with a share of its characters perturbed at random, and gives an answer
    on the majority's side: of those that refuse or of those that do not.
    """

    name = "smoothllm"
    paper = (
        "Robey et al. 2023, 'SmoothLLM: Defending Large Language Models Against Jailbreaking Attacks', arXiv 2310.03684"
    )

    class Params(Params):
        """How copies are made, and what counts as a refusal."""

        copies: PositiveInt = Field(10, description="copies that vote (N); each is an answer of the victim")
        perturbation: Perturbation = Field(
            "swap",
            description="swap: characters at random places are replaced by random ones; insert: random ones are "
            "inserted after them; patch: a run of characters at a random place is replaced",
        )
        rate: float = Field(
            0.1, gt=0, le=1, description="share of the characters of the prompt that is perturbed (q), rounded down"
        )
        threshold: float = Field(
            0.5, ge=0, lt=1, description="share of answers without a refusal above which one of them is given (gamma)"
        )
        phrases: tuple[str, ...] | None = Field(None, description="refusal phrases; null: those of refusal_match")

        @field_validator("phrases")
        @classmethod
        def _some(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
            if value is not None and not (value and all(normalise_text(phrase) for phrase in value)):
                raise ValueError("no phrases, or an empty one, which is in every answer: name some, or leave them out")
            return value

    def copies(self) -> int:
        return self.params.copies

    def copy(self, case: Case) -> Any:
        yield from ()
        return perturb(case.text, self.params.perturbation, self.params.rate, case.rng)

    def choose(self, answers: Sequence[str | None]) -> int:
        """The first answer on the side of the majority. Copies are drawn alike, so it is a random one of that side.

        What a guard has blocked (None) counts as a refusal.
        """
        phrases = REFUSAL_PHRASES if self.params.phrases is None else self.params.phrases
        answered = [answer is not None and not is_refusal(answer, phrases) for answer in answers]
        return answered.index(float(np.mean(answered)) > self.params.threshold)


def perturb(text: str, how: Perturbation, rate: float, rng: np.random.Generator) -> str:
    """A copy of a text of which ⌊rate · length⌋ characters are perturbed (algorithm 2 of arXiv 2310.03684).

    Args:
        how: ``swap``, ``insert`` or ``patch``, as in the parameters of `SmoothLLM`.
        rate: from 0 to 1.
    """
    characters, count = list(text), int(rate * len(text))
    if how == "patch":
        start = int(rng.integers(len(text) - count + 1))
        places = list(range(start, start + count))
    else:
        places = [int(i) for i in rng.choice(len(text), size=count, replace=False)] if count else []
    for place in places:
        drawn = ALPHABET[int(rng.integers(len(ALPHABET)))]
        characters[place] = characters[place] + drawn if how == "insert" else drawn
    return "".join(characters)


@hookimpl
def harness_register_defenses(register):
    register(SmoothLLM)
