"""AutoDAN: a readable string, written token by token so that it is likely and lowers the loss."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveInt

from harness import (
    Attack,
    Auxiliary,
    Floats,
    Gradient,
    Problem,
    Sample,
    SampleAnswer,
    Score,
    State,
    Step,
    Tokens,
    VictimRef,
    hookimpl,
)
from plugins.attacks._common.sampler import LEFT_OUT, SAMPLER, sampling

_WRITTEN = "written"  # key of a state's memory: the tokens so far
_UNSEEN = -np.inf  # log-probability of a token that the language model does not tell


class AutoDAN(Attack):
    """Writes the string from left to right. For each token a gradient and a language model's probabilities choose
    candidates, their losses and probabilities choose one, and that is done again until it chooses what it has chosen
    before. The best string so far is judged.
    """

    name = "autodan"
    access = "gradient"
    paper = (
        "Zhu et al. 2023, 'AutoDAN: Interpretable Gradient-Based Adversarial Attacks on Large Language Models', "
        "arXiv 2310.15140"
    )

    class Params(Attack.Params):
        steps: PositiveInt = Field(
            25,
            description="tokens written one after another; beyond what the threat model allows, another string starts",
        )
        candidates: PositiveInt = Field(512, description="tokens whose loss is asked for, per choice")
        gradient_weight: NonNegativeFloat = Field(
            3.0,
            allow_inf_nan=False,
            description="of the gradient against log-probabilities, for candidates (w1)",
        )
        loss_weight: NonNegativeFloat = Field(
            100.0, allow_inf_nan=False, description="of the loss against log-probabilities, for the token (w2)"
        )
        temperature: NonNegativeFloat = Field(
            1.0, allow_inf_nan=False, description="of the choice of a token; 0 takes the best"
        )
        choices: PositiveInt = Field(4, description="how often a token may be chosen, at most")
        sampler: VictimRef | None = Field(
            None, description=f"the language model whose probabilities count, with the victim's tokens; {LEFT_OUT}"
        )

    def models(self) -> dict[str, Auxiliary]:
        return sampling(self.params.sampler)

    def start(self, problem: Problem, rng: np.random.Generator) -> State:
        return problem.state(np.empty(0, dtype=np.int64))  # empty until the first step

    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Step:
        p, budget = self.params, problem.budget
        written = np.asarray(state.memory.get(_WRITTEN, []), dtype=np.int64)
        written = written if len(written) < budget else written[:0]
        log_probs = yield from self._log_probs(written, problem, rng)
        token, seen = int(rng.choice(problem.allowed)), set[int]()
        for _ in range(p.choices):
            gradient = yield Gradient(np.append(written, token), len(problem.allowed))
            slope = np.zeros(len(problem.allowed))
            slope[np.searchsorted(problem.allowed, gradient.tokens[-1])] = gradient.values[-1]
            order = np.argsort(p.gradient_weight * slope - log_probs, kind="stable")
            longer = self._candidates(written, problem.allowed[order], problem)
            if not len(longer):  # nothing can follow: the last token is written again
                return replace(state, memory={_WRITTEN: written[:-1].tolist()})
            losses = yield Score(longer, near=longer[0])
            state = state.best(longer, losses)
            likely = log_probs[np.searchsorted(problem.allowed, longer[:, -1])]
            token = int(longer[chosen(likely - p.loss_weight * losses, p.temperature, rng), -1])
            if token in seen:
                break
            seen.add(token)
        return replace(state, memory={_WRITTEN: [*written.tolist(), token]})

    def _log_probs(
        self, written: Tokens, problem: Problem, rng: np.random.Generator
    ) -> Generator[Sample, SampleAnswer, Floats]:
        """Of each allowed token after what is written, [A]; all equal where no token stands before it."""
        if not len(written) + len(problem.before):
            return np.zeros(len(problem.allowed))
        seed = int(rng.integers(1 << 63))
        answer = yield Sample(written[None], len(problem.allowed), seed, model=SAMPLER)
        found = np.full(len(problem.allowed), _UNSEEN)
        found[np.searchsorted(problem.allowed, answer.tokens[0])] = answer.log_probs[0]
        return found

    def _candidates(self, written: Tokens, tokens: Tokens, problem: Problem) -> Tokens:
        """What is written with each of the first ``candidates`` tokens with which it survives, [≤ candidates, m]."""
        rows: list[Any] = []
        count = self.params.candidates
        for at in range(0, len(tokens), count):
            part = tokens[at : at + count]
            longer = np.concatenate([np.tile(written, (len(part), 1)), part[:, None]], axis=1)
            rows.extend(longer[problem.survives(longer)])
            if len(rows) >= count:
                break
        return np.asarray(rows[:count], dtype=np.int64).reshape(-1, len(written) + 1)


def chosen(scores: Floats, temperature: float, rng: np.random.Generator) -> int:
    """One of some scores [n], drawn by their softmax at a temperature; the highest where that is 0, or none is
    finite.
    """
    known = np.where(np.isfinite(scores), scores, -np.inf)
    if temperature == 0 or not np.isfinite(known.max()):
        return int(known.argmax())
    return int((known / temperature + rng.gumbel(size=len(known))).argmax())


@hookimpl
def harness_register_attacks(register):
    register(AutoDAN)
