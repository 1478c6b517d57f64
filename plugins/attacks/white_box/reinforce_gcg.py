"""REINFORCE-GCG: GCG whose objective is the expected reward of the victim's answers instead of one target text."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from harness import (
    Attack,
    Auxiliary,
    DataError,
    Generate,
    Gradient,
    Problem,
    Score,
    State,
    Step,
    TaskData,
    VictimRef,
    hookimpl,
)
from plugins.attacks._common.answer_success import looks_successful
from plugins.attacks._common.initial_tokens import RANDOM, initial_tokens
from plugins.attacks._common.momentum import lowest_mean_tokens
from plugins.attacks._common.rated_search import JUDGE, judging
from plugins.attacks._common.rating import BEST, WORST, parse_rating, rating_prompt
from plugins.attacks._common.substitutions import substitutions

_BEST, _REWARD = "answer", "reward"  # keys of a state's memory: the answer with the highest reward so far
_ROUNDING = 1e-9  # a weight at most so large, of rewards up to 1, is none


class ReinforceGCG(Attack):
    """GCG that raises the probability of answers with a high reward and lowers that of the others: sampled answers, the
    greedy one, the target text and the best answer so far, weighed against each other (REINFORCE, leave-one-out).
    """

    name = "reinforce_gcg"
    access = "gradient"
    paper = (
        "Geisler et al. 2025, 'REINFORCE Adversarial Attacks on Large Language Models: An Adaptive, Distributional, "
        "and Semantic Objective', arXiv 2502.17254; search as in Zou et al. 2023, arXiv 2307.15043"
    )

    class Params(Attack.Params):
        candidates: PositiveInt = Field(128, description="substitutions scored per step, for each answer")
        topk: PositiveInt = Field(256, description="tokens considered per position, those with the lowest gradient")
        swaps: PositiveInt = Field(1, description="positions that each candidate changes")
        initial: str = Field(RANDOM, min_length=1, description="the first string, as in gcg")
        samples: NonNegativeInt = Field(1, description="answers drawn per step, besides the greedy one")
        temperature: PositiveFloat = Field(0.7, allow_inf_nan=False, description="of the drawn answers")
        answer_tokens: PositiveInt = Field(64, description="longest answer that is looked at, in the victim's tokens")
        target_reward: float = Field(0.5, ge=0, le=1, description="reward of the target text, which is not rated")
        baseline: float = Field(0.1, ge=0, le=1, description="reward of a made-up answer that is added to the others")
        judge: VictimRef | None = Field(
            None,
            description="the model that rates answers, as a victim; its compute counts as well. By default the "
            "reward is 1 or 0: whether an answer is not a refusal, by its words",
        )
        rating_tokens: PositiveInt = Field(64, description="longest rating, in the judging model's tokens")
        max_chars: PositiveInt = Field(4000, ge=200, description="longest text that the judging model is shown")

    def models(self) -> dict[str, Auxiliary]:
        return {} if self.params.judge is None else {JUDGE: Auxiliary(self.params.judge, sees="nothing")}

    def check(self, data: TaskData) -> None:
        if data.labels:
            raise DataError("reinforce_gcg looks at answers in text; for tasks with labels use gcg")

    def start(self, problem: Problem, rng: np.random.Generator) -> State:
        return problem.state(initial_tokens(self.params.initial, problem, rng))

    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Step:
        p = self.params
        answers, rewards = yield from self._answers(state, problem, rng)
        if _BEST in state.memory:
            answers, rewards = [state.memory[_BEST], *answers], [state.memory[_REWARD], *rewards]
        target = problem.example.target
        weights = answer_weights([target, *answers], [p.target_reward, *rewards], p.baseline) or {target: 1.0}
        full, loss = np.zeros((len(state.tokens), len(problem.allowed))), 0.0
        for text, weight in weights.items():
            gradient = yield Gradient(state.array, len(problem.allowed), target=text)
            at = np.searchsorted(problem.allowed, gradient.tokens)
            full[np.arange(len(at))[:, None], at] += weight * gradient.values
            loss += weight * gradient.loss
        lowest = lowest_mean_tokens(full.astype(np.float32), loss, problem.allowed, p.topk)
        candidates = problem.refill(p.candidates, lambda n: substitutions(state.array, lowest, rng, n, p.swaps))
        losses = np.zeros(len(candidates))
        for text, weight in weights.items():
            told = yield Score(candidates, near=state.array, target=text)
            losses += np.where(np.isfinite(told), weight * told, np.inf)  # what a guard blocks is never taken
        if not len(candidates) and not problem.survives(state.array[None])[0]:
            state = problem.state(problem.random_tokens(rng))
        return State(state.tokens, memory=best_answer(answers, rewards, p.baseline)).latest(candidates, losses)

    def _answers(
        self, state: State, problem: Problem, rng: np.random.Generator
    ) -> Generator[Generate, Any, tuple[list[str], list[float]]]:
        """The victim's answers to the string, the greedy one first, and their rewards; "" for a refusal by a guard."""
        p = self.params
        (prompt,) = problem.prompts(state.array[None])
        said = yield Generate((prompt,), p.answer_tokens)
        if p.samples:
            seed = int(rng.integers(1 << 62))
            said = [*said, *(yield Generate((prompt,) * p.samples, p.answer_tokens, p.temperature, seed))]
        answers = [answer or "" for answer in said]
        if p.judge is None:
            return answers, [float(looks_successful(problem, answer)) for answer in said]
        asked = {i: rating_prompt(problem, text, p.max_chars) for i, text in enumerate(answers) if text.strip()}
        told = (yield judging(asked.values(), p.rating_tokens)) if asked else []
        rated = {i: parse_rating(one) or WORST for i, one in zip(asked, told, strict=True)}
        return answers, [(rated.get(i, WORST) - WORST) / (BEST - WORST) for i in range(len(answers))]


def best_answer(answers: Sequence[str], rewards: Sequence[float], baseline: float) -> dict[str, Any]:
    """The first of the answers with the highest reward, and that reward, for a state's memory; none that is no better
    than the baseline, or has no word.
    """
    told = [i for i, answer in enumerate(answers) if answer.strip() and rewards[i] > baseline]
    best = max(told, key=lambda i: rewards[i], default=None)
    return {} if best is None else {_BEST: answers[best], _REWARD: rewards[best]}


def answer_weights(answers: Sequence[str], rewards: Sequence[float], baseline: float) -> dict[str, float]:
    """How much each answer's loss counts: its reward less the mean reward of all others, a made-up one of ``baseline``
    among them; scaled so that sizes add up to 1. Equal answers are one; those without a word have a reward alone.
    """
    total, others = sum(rewards) + baseline, len(rewards)
    found: dict[str, float] = {}
    for answer, reward in zip(answers, rewards, strict=True):
        if answer.strip():
            found[answer] = found.get(answer, 0.0) + reward - (total - reward) / others
    found = {answer: weight for answer, weight in found.items() if abs(weight) > _ROUNDING}
    size = sum(map(abs, found.values()))
    return {answer: weight / size for answer, weight in found.items()}


@hookimpl
def harness_register_attacks(register):
    register(ReinforceGCG)
