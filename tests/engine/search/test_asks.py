"""An attacker who asks for answers itself: they are its compute and queries, and the threat model's limits hold."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given, settings, strategies as st

from harness.api.judge import Answer, Judge
from harness.api.task import Example
from harness.api.threat import Threat
from harness.engine.defended.victim import DefendedVictim
from harness.engine.search.budget import FLOPS, QUERIES, UNLIMITED, SearchBudget
from harness.engine.search.judging import JudgeRunner
from harness.engine.search.on_examples import place_all
from harness.engine.search.router import ModelRouter
from harness.engine.search.search import Search
from harness.errors import AccessError, VictimError
from harness.records.step_row import StepRow
from harness.run.cell.attack import check_sampling
from harness.spec.answers import AnswerSampling
from harness.testing.toys.language_model import ToyLanguageModel
from harness.testing.toys.task_data import toy_task_data
from plugins.attacks.random_search import RandomSearch

DATA = toy_task_data("text")
K = 5


class Vowels(Judge):
    """The answer holds a vowel."""

    name = "vowels"
    reads = "text"

    def success(self, example: Example, answer: Answer) -> bool:
        return any(c in "aeiou" for c in answer.text or "")


def rows_of(budget: SearchBudget, asks: int | None, examples: int = 2) -> list[StepRow]:
    victim = DefendedVictim(ToyLanguageModel(), answer_tokens=8)
    router = ModelRouter(victim)
    judge = JudgeRunner(Vowels(), router, sampling=AnswerSampling(samples=K, temperature=1.5), asks=asks)
    attack = RandomSearch(RandomSearch.Params(steps=5, candidates=4))
    problems = place_all(DATA.validation[:examples], Threat(tokens=4), victim.backend.tokenizer)
    return Search(router, attack, (0, "cell"), "scores", judge, budget=budget).run(problems).rows


FREE = rows_of(UNLIMITED, None)


def test_what_is_asked_moves_from_judging_to_the_attack() -> None:
    for asks in (1, 3, K):
        for row, free in zip(rows_of(UNLIMITED, asks), FREE, strict=True):
            assert row.sampled_answer == free.sampled_answer, "what is drawn does not hang on who pays"
            assert row.queries == free.queries + asks
            own = sum(row.sampled_nominal[:asks])
            assert row.attack_nominal == pytest.approx(free.attack_nominal + own)
            assert row.judge_nominal == pytest.approx(free.judge_nominal - own)
            assert row.success == any(row.sampled_success[:asks])


def test_answers_depend_on_the_example_and_step_alone() -> None:
    first = DATA.validation[0].id
    alone, beside = ([r for r in rows_of(UNLIMITED, None, n) if r.example == first] for n in (1, 6))
    assert [row.sampled_answer for row in alone] == [row.sampled_answer for row in beside]
    assert len({answer for row in alone for answer in row.sampled_answer}) > len(alone)


@given(limit=st.integers(3, 60), asks=st.integers(1, 3))
@settings(max_examples=15, deadline=None)
def test_queries_keep_to_the_limit(limit: int, asks: int) -> None:
    rows = rows_of(SearchBudget(queries=limit), asks)
    for example in {row.example for row in rows}:
        own = [row for row in rows if row.example == example]
        assert sum(row.queries for row in own) <= limit
        assert all(len(row.sampled_answer) == K for row in own), "each string that stands is judged by all"


def test_flops_keep_to_the_limit_and_none_left_is_an_error() -> None:
    limit = 2.5 * max(row.attack_nominal + sum(row.sampled_nominal) for row in FREE)
    rows = rows_of(SearchBudget(flops=limit), 3)
    for example in {row.example for row in rows}:
        assert 0 < sum(row.attack_nominal for row in rows if row.example == example) <= limit
    with pytest.raises(AccessError, match=rf"{FLOPS} leaves no room for the answers"):
        rows_of(SearchBudget(flops=1.0), 1)
    with pytest.raises(AccessError, match=QUERIES):
        rows_of(SearchBudget(queries=1), 2)


def test_a_temperature_that_a_server_does_not_take_is_an_error() -> None:
    victim = DefendedVictim(ToyLanguageModel())
    cell = SimpleNamespace(answers=AnswerSampling(samples=2, temperature=0.5), victim=SimpleNamespace(label="it"))
    check_sampling(cell, victim)  # type: ignore[arg-type]
    victim.backend.own_temperature = True  # type: ignore[attr-defined]
    with pytest.raises(VictimError, match="leave `temperature` and `top_p` out"):
        check_sampling(cell, victim)  # type: ignore[arg-type]
    cell.answers = AnswerSampling(samples=2)
    check_sampling(cell, victim)  # type: ignore[arg-type]
