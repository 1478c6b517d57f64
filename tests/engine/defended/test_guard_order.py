"""Which guard blocks what, in which order and at what cost is the same on every way to the victim: by tokens, by texts,
with a perturbation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from harness.api.problem.latent import Latent
from harness.api.problem.placement import allowed_tokens, place
from harness.api.problem.problem import Problem
from harness.api.requests import Score
from harness.api.runtime_defense import Case, GuardDefense, Ruling, TransformDefense
from harness.engine.defended.layer import Layer
from harness.engine.defended.prompt_item import PromptItem
from harness.engine.defended.victim import DefendedVictim
from harness.engine.meter import StepMeter
from harness.flops import Flops
from harness.rng import named_seed
from harness.testing.toys.examples import toy_threat
from harness.testing.toys.language_model import ToyLanguageModel
from tests.engine.toy import ToyBackend, toy_examples, toy_tokenizer


class Picky(GuardDefense):
    """Blocks some texts by their hash; with a penalty, if it has one. Each text costs its length."""

    name = "picky"

    def __init__(self, number: int, penalty: float, reads: Any = "prompt") -> None:
        super().__init__()
        self.number, self.penalty, self._reads = number, penalty, reads
        self.seen: list[str] = []

    @property
    def reads(self) -> Any:
        return self._reads

    def blocked(self, text: str) -> bool:
        return named_seed(self.number, text) % 3 == 0

    def ruling(self, case: Case) -> Any:
        yield from ()
        text = case.text if self.reads == "prompt" else case.answer or ""
        self.seen.append(text)
        return Ruling(self.blocked(text), self.penalty)

    def cost(self, text: str) -> Flops:
        return Flops(float(len(text)), 2.0 * len(text))


class Same(TransformDefense):
    """Changes nothing, but makes every way lead by texts."""

    name = "same"

    def apply(self, texts: Sequence[str]) -> list[str]:
        return list(texts)


def placed(count: int, target: str = "") -> list[Problem]:
    tokenizer = toy_tokenizer()
    allowed = allowed_tokens(tokenizer)
    return [
        place(one, toy_threat("latent", tokens=5), tokenizer, allowed) for one in toy_examples(count, target=target)
    ]


penalties = st.lists(st.sampled_from([0.0, 0.25, 3.0, np.inf]), min_size=1, max_size=4)


@settings(deadline=None, max_examples=40)
@given(penalties, st.integers(0, 2**20))
def test_losses_are_the_same_by_tokens_and_by_texts(given_penalties: list[float], seed: int) -> None:
    backend = ToyBackend()
    guards = [Picky(seed + i, penalty) for i, penalty in enumerate(given_penalties)]
    stack = [Layer(guard) for guard in guards]
    bare, by_tokens, by_texts = (DefendedVictim(backend, own) for own in ((), stack, [*stack, Layer(Same())]))
    requests = [(problem, Score(problem.random_tokens(np.random.default_rng(seed), 6))) for problem in placed(2)]

    def scored(victim: DefendedVictim) -> tuple[list[Any], list[StepMeter]]:
        meters = [StepMeter() for _ in requests]
        return victim.score([(*one, meter) for one, meter in zip(requests, meters, strict=True)]), meters

    (plain, _), (fast, fast_meters), (slow, slow_meters) = (scored(one) for one in (bare, by_tokens, by_texts))
    for (problem, request), own, one, other in zip(requests, plain, fast, slow, strict=True):
        wanted = []
        for text, loss in zip(problem.prompts(request.candidates), own, strict=True):
            wanted.append(loss + sum(guard.penalty for guard in guards if guard.blocked(text)))
        np.testing.assert_allclose(one, wanted, atol=1e-9)
        np.testing.assert_allclose(other, wanted, atol=1e-9)
    assert [meter.queries for meter in fast_meters] == [meter.queries for meter in slow_meters] == [6, 6]
    assert [meter.defense for meter in fast_meters] == [meter.defense for meter in slow_meters]
    assert [m.attack.nominal for m in fast_meters] == [m.attack.nominal for m in slow_meters]
    assert all(guard.seen.count(text) % 2 == 0 for guard in guards for text in set(guard.seen)), "once on each way"


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from(["prompt", "answer"]), min_size=1, max_size=4), st.integers(0, 2**20))
def test_a_perturbed_prompt_meets_the_guards_of_a_plain_one(reads: list[str], seed: int) -> None:
    """With nothing added to the activations the two are the same."""
    victim = DefendedVictim(
        ToyLanguageModel(toy_tokenizer()),
        [Layer(Picky(seed + i, np.inf, what)) for i, what in enumerate(reads)],
        answer_tokens=4,
    )
    problems = placed(6, target=" over the fence")
    tokens = [problem.random_tokens(np.random.default_rng(seed)) for problem in problems]
    width = victim.backend.embedding.shape[1]  # type: ignore[attr-defined]
    nothing = Latent.of(np.zeros((5, width)), 0)
    prompts = [(problem, problem.prompts(own[None])[0]) for problem, own in zip(problems, tokens, strict=True)]
    plain = victim.reply_to([PromptItem(text, target=problem.target) for problem, text in prompts])
    perturbed = victim.reply_to(
        [
            PromptItem(text, target=problem.target, latent=nothing, start=len(problem.before), radius=0.5)
            for problem, text in prompts
        ]
    )
    for one, other in zip(plain, perturbed, strict=True):
        assert (one.blocked_by, one.text) == (other.blocked_by, other.text)
        assert one.defense == other.defense
        assert other.nll == pytest.approx(one.nll, nan_ok=True)


@given(
    st.lists(st.tuples(st.sampled_from(["prompt", "answer"]), st.booleans()), min_size=1, max_size=5),
    st.integers(0, 2**20),
)
@settings(deadline=None, max_examples=60)
def test_who_saw_a_prompt_is_told_from_its_reply(layers: list[tuple[str, bool]], seed: int) -> None:
    guards = [Picky(seed + i if may_block else -1, np.inf, what) for i, (what, may_block) in enumerate(layers)]
    victim = DefendedVictim(ToyLanguageModel(toy_tokenizer()), [Layer(guard) for guard in guards], answer_tokens=4)
    for example in toy_examples(4):
        for guard in guards:
            guard.seen.clear()
        (reply,) = victim.ask([example.text])
        assert [victim.pipeline.saw(at, reply) for at in range(len(guards))] == [bool(guard.seen) for guard in guards]
