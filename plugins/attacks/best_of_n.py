"""Best-of-N: sample random augmentations of a text until the victim's answer is a success."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field, PositiveInt

from harness import NO_LABEL, Attack, Generate, Problem, State, Step, Tokens, hookimpl
from plugins.attacks._common.answer_success import looks_successful
from plugins.attacks._common.text_augmentation import augment

DRAWS_PER_SAMPLE = 4  # augmentations tried per string wanted: some do not survive tokenisation
_SUCCEEDED = "found"  # key of a state's memory


class BestOfN(Attack):
    """Random augmentations (capitals, scrambled words, neighbouring characters), chosen by the victim's answers in text
    alone.
    """

    name = "best_of_n"
    access = "text"
    paper = "Hughes et al. 2024, 'Best-of-N Jailbreaking', arXiv 2412.03556"

    class Params(Attack.Params):
        steps: PositiveInt = Field(25, description="how many steps to run; each is judged and recorded")
        samples: PositiveInt = Field(16, description="augmentations that the victim answers per step")
        sigma: float = Field(0.4, ge=0, le=1, description="strength of the augmentations")
        max_tokens: PositiveInt = Field(32, description="longest answer that is read, in the victim's tokens")
        temperature: float = Field(0.0, ge=0, le=10, description="temperature of these answers; 0: the most likely one")

        def identity(self) -> dict[str, Any]:
            """The parameters; the temperature only where answers are drawn, so that the keys of older runs stay."""
            return {name: v for name, v in super().identity().items() if name != "temperature" or v > 0}

    def start(self, problem: Problem, rng: np.random.Generator) -> State:
        tokens = problem.fitted(text_to_augment(problem, rng))
        return problem.state(problem.random_tokens(rng) if tokens is None else tokens)

    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Step:
        succeeded = bool(state.memory.get(_SUCCEEDED))
        if succeeded and problem.example.label != NO_LABEL:  # a label is the verdict: further queries would be wasted
            return state
        strings = self._augmented_strings(problem, rng)
        if not strings:
            return state
        prompts = tuple(problem.prompts(string[None])[0] for string in strings)
        seed = int(rng.integers(2**31)) if self.params.temperature else 0
        answers = yield Generate(prompts, self.params.max_tokens, self.params.temperature, seed)
        for string, answer in zip(strings, answers, strict=True):
            if looks_successful(problem, answer):
                return State(tuple(string.tolist()), memory={_SUCCEEDED: True})
        return state if succeeded else problem.state(strings[-1])

    def _augmented_strings(self, problem: Problem, rng: np.random.Generator) -> list[Tokens]:
        """Random augmentations that the threat model allows, at most ``samples``, each of shape [≤ S]."""
        strings: list[Tokens] = []
        for _ in range(DRAWS_PER_SAMPLE * self.params.samples):
            tokens = problem.fitted(augment(text_to_augment(problem, rng), self.params.sigma, rng))
            if tokens is not None:
                strings.append(tokens)
            if len(strings) == self.params.samples:
                break
        return strings


def text_to_augment(problem: Problem, rng: np.random.Generator) -> str:
    """The text that the string replaces; where it replaces none, as many random words as the string may have tokens:
    those of the text that it is put into, else of the prompt or message around it.
    """
    if problem.replaced.strip():
        return problem.replaced
    words = problem.example.chunks[problem.example.region].text.split() or _plain_words(problem)
    if not words:  # the string is the whole prompt
        return problem.tokenizer.decode([rng.choice(problem.allowed, size=problem.budget).tolist()])[0]
    return "".join(f" {words[i]}" for i in rng.integers(len(words), size=problem.budget))


def _plain_words(problem: Problem) -> list[str]:
    """The words around the string; those of chat markers that a task wrote there are nobody's words."""
    words = problem.prompt("").split()
    if not any("<" in word or "[" in word for word in words):
        return words
    marks = [text for text in map(str.strip, _special_texts(problem)) if text]
    return [word for word in words if not any(mark in word for mark in marks)]


def _special_texts(problem: Problem) -> list[str]:
    return problem.tokenizer.decode([[i] for i in sorted(problem.tokenizer.special)])


@hookimpl
def harness_register_attacks(register):
    register(BestOfN)
