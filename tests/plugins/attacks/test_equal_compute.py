"""At equal compute GCG finds what random draws do not: the gradient is worth its cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from harness.api.problem.problem import Problem
from plugins.attacks.gcg import GCG
from plugins.attacks.pgd import PGD
from plugins.attacks.random_token import RandomToken
from plugins.attacks.white_box.adc import ADC
from plugins.judges.labels import WrongLabel
from tests.engine.toy import searching

STEPS, CANDIDATES, EXAMPLES = 14, 48, 40
DRAWS = CANDIDATES + 3  # a gradient costs a forward and a backward pass: three forwards


def broken_by(attack: Any, backend: Any, problems: list[Problem], seed: int) -> tuple[np.ndarray, float]:
    """Which examples are broken so far after each step, shape [examples, steps], and the compute spent."""
    from harness.engine.defended.victim import DefendedVictim

    result = searching(DefendedVictim(backend), attack, (seed, attack.name), "gradient", WrongLabel()).run(problems)
    table = np.asarray([row.success for row in result.rows]).reshape(len(problems), -1)
    return np.logical_or.accumulate(table, axis=1), result.cost.nominal


@pytest.mark.slow
def test_gcg_beats_random_draws_at_equal_compute(trained: Callable[..., Any]) -> None:
    seed = 0
    victim = trained("word_length", "26k", seed)
    backend = victim.open()
    problems = victim.problems(backend, EXAMPLES)
    gcg, spent = broken_by(GCG(GCG.Params(steps=STEPS, candidates=CANDIDATES)), backend, problems, seed)
    drawn, as_much = broken_by(RandomToken(RandomToken.Params(steps=STEPS, draws=DRAWS)), backend, problems, seed)
    assert spent == pytest.approx(as_much, rel=1e-9)
    for name, table in (("gcg", gcg), ("random_token", drawn)):
        print(seed, name, " ".join(f"{(step + 1) * DRAWS}:{table[:, step].mean():.2f}" for step in (0, 1, 3, 7, 13)))
    assert gcg[:, -1].mean() - drawn[:, -1].mean() > 0.15
    assert gcg[:, -1].sum() > 2 * (drawn & ~gcg)[:, -1].sum() + 4  # example by example, not by a few lucky ones


@pytest.mark.slow
def test_gcg_that_merges_beats_random_draws_and_itself_in_as_many_steps(trained: Callable[..., Any]) -> None:
    victim = trained("word_length", "26k")
    backend = victim.open()
    problems = victim.problems(backend, EXAMPLES)
    settings = {"steps": 8, "candidates": 24, "topk": 64}
    merging, spent = broken_by(GCG(GCG.Params(**settings, merged=7)), backend, problems, 0)
    plain, _ = broken_by(GCG(GCG.Params(**settings)), backend, problems, 0)
    drawn, as_much = broken_by(RandomToken(RandomToken.Params(steps=8, draws=33)), backend, problems, 0)
    assert spent <= as_much
    assert merging[:, -1].mean() - drawn[:, -1].mean() > 0.2
    assert merging.mean() > plain.mean()


@pytest.mark.slow
def test_pgd_beats_random_draws_at_equal_compute(trained: Callable[..., Any]) -> None:
    victim = trained("word_length", "26k")
    backend = victim.open()
    problems = victim.problems(backend, 20)
    relaxed, spent = broken_by(PGD(PGD.Params(steps=10, updates=6)), backend, problems, 0)
    drawn, as_much = broken_by(RandomToken(RandomToken.Params(steps=10, draws=24)), backend, problems, 0)
    assert spent <= as_much  # at most four forwards an update
    assert relaxed[:, -1].mean() - drawn[:, -1].mean() > 0.1


@pytest.mark.slow
def test_adc_beats_random_draws_at_equal_compute(trained: Callable[..., Any]) -> None:
    victim = trained("word_length", "26k")
    backend = victim.open()
    problems = victim.problems(backend, 20)
    sparse, spent = broken_by(ADC(ADC.Params(steps=4, updates=6)), backend, problems, 0)
    drawn, as_much = broken_by(RandomToken(RandomToken.Params(steps=4, draws=24)), backend, problems, 0)
    assert spent <= as_much  # at most four forwards an update
    assert sparse[:, -1].mean() - drawn[:, -1].mean() > 0.2
