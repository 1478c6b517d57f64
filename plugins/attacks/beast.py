"""BEAST: beam search over next tokens drawn from a language model."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import Field, PositiveInt

from harness import Attack, Auxiliary, Problem, Sample, SampleAnswer, Score, State, Step, Tokens, VictimRef, hookimpl
from plugins.attacks._common.sampler import LEFT_OUT, SAMPLER, sampling


class Beast(Attack):
    """Beam search over tokens drawn from a language model: each step makes every beam one token longer and keeps the
    beams with the lowest loss. A beam that fills the token budget ends a pass; the next step begins another.
    """

    name = "beast"
    access = "scores"
    paper = (
        "Sadasivan et al. 2024, 'Fast Adversarial Attacks on Language Models In One GPU Minute', arXiv 2402.15570; "
        "defaults of arXiv 2407.18213"
    )

    class Params(Attack.Params):
        steps: PositiveInt = Field(
            25, description="tokens drawn one after another; beyond what the threat model allows, another pass starts"
        )
        width: PositiveInt = Field(7, description="beams kept (k1 of the paper)")
        branching: PositiveInt = Field(7, description="next tokens drawn for each beam, none twice (k2 of the paper)")
        top: PositiveInt | None = Field(
            None, description="draw among this many of the most likely allowed tokens; by default all"
        )
        sampler: VictimRef | None = Field(
            None, description=f"the language model that tokens are drawn from, with the victim's tokens; {LEFT_OUT}"
        )

    def models(self) -> dict[str, Auxiliary]:
        return sampling(self.params.sampler)

    def start(self, problem: Problem, rng: np.random.Generator) -> State:
        return problem.state(np.empty(0, dtype=np.int64))  # empty until the first step

    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Step:
        beams = beams_of(state, problem.budget)
        drawn = yield from self._next_tokens(beams, problem, rng)
        longer = np.concatenate([np.repeat(beams, drawn.shape[1], axis=0), drawn.reshape(-1, 1)], axis=1)
        longer = longer[problem.survives(longer)]
        losses = yield Score(longer, near=one_of_each_beam(longer), best=self.params.width)
        kept = longer[np.argsort(losses, kind="stable")[: self.params.width]]  # NaN comes last
        if not len(kept):  # perhaps nothing can follow these beams: their last tokens are drawn again
            kept = without_last_tokens(beams)
        return replace(state.best(longer, losses), memory={"beams": kept.tolist()})

    def _next_tokens(
        self, beams: Tokens, problem: Problem, rng: np.random.Generator
    ) -> Generator[Sample, SampleAnswer, Tokens]:
        """Next tokens of each beam, [beams, branching]; those of the empty one are the first beams, [1, width]."""
        empty = beams.shape[1] == 0
        count = self.params.width if empty else self.params.branching
        if empty and len(problem.before) == 0:  # a model needs at least one token before those it predicts
            return rng.choice(problem.allowed, size=(1, min(count, len(problem.allowed))), replace=False)
        seed = int(rng.integers(1 << 63))
        answer = yield Sample(beams, count, seed, self.params.top, SAMPLER)
        return answer.tokens


def beams_of(state: State, budget: int) -> Tokens:
    """The beams that a step extends, shape [n, m] with m below the budget; a single empty one begins a pass."""
    stored: Any = state.memory.get("beams", [[]])
    beams = np.asarray(stored, dtype=np.int64)
    return beams if beams.shape[1] < budget else np.empty((1, 0), dtype=np.int64)


def one_of_each_beam(longer: Tokens) -> Tokens:
    """The first continuation of each beam, of continuations [n, m] in the beams' order; shape [beams, m]."""
    first = np.ones(len(longer), dtype=bool)
    first[1:] = (longer[1:, :-1] != longer[:-1, :-1]).any(axis=1)
    return longer[first]


def without_last_tokens(beams: Tokens) -> Tokens:
    """Beams [n, m] without their last tokens, each once, in order of first appearance; shape [≤ n, m - 1]."""
    shorter = dict.fromkeys(tuple(beam[:-1]) for beam in beams.tolist())
    return np.asarray(list(shorter), dtype=np.int64).reshape(len(shorter), -1)


@hookimpl
def harness_register_attacks(register):
    register(Beast)
