"""Best-of-N: perturb a text again and again until an answer is the one wanted."""

from __future__ import annotations

import numpy as np
from pydantic import Field, PositiveInt

from harness import NO_LABEL, Attack, Generate, Problem, State, Step, Tokens, hookimpl
from plugins.attacks._common.answer_success import is_wanted
from plugins.attacks._common.augment import augmented

TRIES = 4  # augmentations per string that is asked about, before fewer are: some do not survive tokenisation
_FOUND = "found"


class BestOfN(Attack):
    """Random capitals, scrambled words and shifted characters, with nothing but the victim's answers in text."""

    name = "best_of_n"
    access = "text"
    paper = "Hughes et al. 2024, 'Best-of-N Jailbreaking', arXiv 2412.03556"

    class Params(Attack.Params):
        steps: PositiveInt = Field(25, description="how many steps to run; each is judged and recorded")
        samples: PositiveInt = Field(16, description="augmentations that the victim answers per step")
        sigma: float = Field(0.4, ge=0, le=1, description="strength of the augmentations")
        max_tokens: PositiveInt = Field(32, description="longest answer that is looked at")

    def start(self, problem: Problem, rng: np.random.Generator) -> State:
        tokens = problem.fitted(base_text(problem, rng))
        return problem.state(problem.random_tokens(rng) if tokens is None else tokens)

    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Step:
        found = bool(state.memory.get(_FOUND))
        if found and problem.example.label != NO_LABEL:  # the label heard is the verdict: asking on would only cost
            return state
        strings = self._drawn(problem, rng)
        if not strings:
            return state
        prompts = tuple(problem.prompts(string[None])[0] for string in strings)
        answers = yield Generate(prompts, self.params.max_tokens)
        wanted = [string for string, answer in zip(strings, answers, strict=True) if is_wanted(problem, answer)]
        if wanted:
            return State(tuple(wanted[0].tolist()), memory={_FOUND: True})
        return state if found else problem.state(strings[-1])

    def _drawn(self, problem: Problem, rng: np.random.Generator) -> list[Tokens]:
        """Strings that the threat model allows, at most ``samples``."""
        found: list[Tokens] = []
        for _ in range(TRIES * self.params.samples):
            tokens = problem.fitted(augmented(base_text(problem, rng), self.params.sigma, rng))
            if tokens is not None:
                found.append(tokens)
            if len(found) == self.params.samples:
                break
        return found


def base_text(problem: Problem, rng: np.random.Generator) -> str:
    """What is augmented: the text that the string replaces; where it replaces none, words of the prompt at random, as
    many as there may be tokens.
    """
    own = problem.example.chunks[problem.example.region].text
    if own.strip() and problem.prompt("") != problem.example.text:  # the prompt lacks it: it is replaced
        return own
    words = problem.prompt("").split()
    if not words:  # the string is the whole prompt
        return problem.tokenizer.decode([rng.choice(problem.allowed, size=problem.budget).tolist()])[0]
    return "".join(f" {words[i]}" for i in rng.integers(len(words), size=problem.budget))


@hookimpl
def harness_register_attacks(register):
    register(BestOfN)
