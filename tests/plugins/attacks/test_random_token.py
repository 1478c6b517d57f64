"""random_token draws uniformly and independently, and keeps the best."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare

from harness.api.problem.placement import allowed_tokens, place
from harness.api.problem.problem import Problem
from harness.api.problem.state import State
from harness.api.requests import Score
from harness.api.task import Chunk, Edit, Example
from harness.api.threat import Threat
from harness.engine.defended.victim import DefendedVictim
from harness.engine.dry_run import FakeTokenizer
from plugins.attacks.random_token import RandomToken
from plugins.judges.labels import WrongLabel
from tests.engine.toy import ToyBackend, searching, toy_examples
from tests.plugins.attacks.recorder import RecordingVictim

BACKEND = ToyBackend()


def random_token(**params: Any) -> RandomToken:
    return RandomToken(RandomToken.Params(**params))


def toy_problems(count: int, tokens: int = 5) -> list[Problem]:
    allowed = allowed_tokens(BACKEND.tokenizer)
    return [place(e, Threat(tokens=tokens), BACKEND.tokenizer, allowed) for e in toy_examples(count)]


def draws_of(problem: Problem, count: int, seed: int = 0) -> np.ndarray:
    """What one step asks to have scored."""
    step = random_token(draws=count).step(State((0,) * problem.budget), problem, np.random.default_rng(seed))
    asked = next(step)
    assert isinstance(asked, Score)
    return asked.candidates


def test_draws_are_uniform_over_the_allowed_tokens_at_every_position() -> None:
    empty = np.empty(0, dtype=np.int64)
    example = Example("pretend", (Chunk("", Edit.OVERWRITABLE),), 0, 1)
    allowed = np.arange(7, 107)
    problem = Problem(example, "", "", empty, empty, 3, allowed, FakeTokenizer())
    draws = draws_of(problem, 20_000)
    assert draws.shape == (20_000, 3)
    for column in draws.T:
        counts = np.bincount(column, minlength=108)
        assert counts[:7].sum() + counts[107:].sum() == 0
        assert chisquare(counts[7:107]).pvalue > 1e-6
    pairs = np.bincount((draws[:, 0] - 7) * 100 + draws[:, 1] - 7, minlength=10_000)
    assert pairs.max() < 20  # 2 expected: positions are independent


def test_draws_are_uniform_over_the_strings_that_survive_tokenisation() -> None:
    (problem,) = toy_problems(1, tokens=2)
    letters = sorted(ids[0] for ids in problem.tokenizer.encode(list("brownfxedg")))  # some pairs of which merge
    problem = replace(problem, allowed=np.asarray(letters))
    pairs = np.asarray([(a, b) for a in letters for b in letters])
    survivors = pairs[problem.survives(pairs)]
    assert 50 < len(survivors) < 100
    drawn, counts = np.unique(draws_of(problem, 20_000), axis=0, return_counts=True)
    assert drawn.tolist() == survivors.tolist()
    assert chisquare(counts).pvalue > 1e-6


def test_the_best_so_far_never_worsens_and_is_the_best() -> None:
    victim = RecordingVictim(BACKEND)
    problems = toy_problems(4)
    rows = searching(victim, random_token(steps=12, draws=8), (0, "x"), "scores", WrongLabel()).run(problems).rows
    for problem in problems:
        mine = [row for row in rows if row.example == problem.example.id]
        lowest = np.inf
        for row, exchange in zip(mine, victim.of(victim.scores, problem), strict=True):
            before, lowest = lowest, min(lowest, exchange.answer.min())
            assert row.attack_loss == lowest <= before
            assert row.loss == pytest.approx(lowest, abs=1e-12)
    assert not victim.gradients


def test_draws_depend_on_no_other_example() -> None:
    problems = toy_problems(5)

    def rows_of(chosen: list[Problem], **settings: Any) -> dict[str, Any]:
        search = searching(DefendedVictim(BACKEND), random_token(steps=3, draws=6), (0, "x"), "scores", **settings)
        return {(row.example, row.step): row.attack_tokens for row in search.run(chosen).rows}

    everything = rows_of(problems)
    assert everything == rows_of(problems[::-1], together=2)
    alone = rows_of(problems[3:4])
    assert alone == {key: value for key, value in everything.items() if key in alone}


def test_draws_differ_between_examples_steps_and_seeds() -> None:
    problems = toy_problems(3)
    seen = []
    for seed in (0, 1):
        victim = RecordingVictim(BACKEND)
        searching(victim, random_token(steps=3, draws=4), (seed, "x"), "scores").run(problems)
        seen += [exchange.request.candidates.tobytes() for exchange in victim.scores]
    assert len(set(seen)) == 2 * 3 * 3


def test_no_example_starts_with_a_free_string() -> None:
    """The first state is unscored: it is judged only once a step has found nothing better, and costs nothing."""
    (problem,) = toy_problems(1)
    first = random_token().start(problem, np.random.default_rng(0))
    assert first.loss is None
    assert len(first.tokens) == problem.budget
    step = random_token(draws=3).step(first, problem, np.random.default_rng(1))
    asked = next(step)
    with pytest.raises(StopIteration) as stop:
        step.send(np.asarray([9.0, 8.0, np.nan]))
    assert stop.value.value.tokens == tuple(asked.candidates[1].tolist())
