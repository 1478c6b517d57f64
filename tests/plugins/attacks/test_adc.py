"""ADC: the number of entries left follows the number of wrong tokens, and updates are those of a plain loop."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import exp
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from pydantic import ValidationError

from harness.api.problem.problem import Problem
from harness.api.problem.state import State
from harness.api.requests import RelaxedAnswer, RelaxedGradient, Score
from harness.errors import AccessError
from plugins.attacks._common.relaxed.simplex import project_to_sparse
from plugins.attacks.white_box.adc import ADC, entries_left
from tests.plugins.attacks.test_gcg import pretend_problem

TOKENS, ALLOWED = 4, 50


def adc(**params: Any) -> ADC:
    return ADC(ADC.Params(**params))


class Linear:
    """Answers as a model whose loss is linear in the weights and that gets so many tokens wrong."""

    def __init__(self, wrong: Sequence[float | None]) -> None:
        self.slope, self.wrong = np.random.default_rng(3).normal(size=(TOKENS, ALLOWED)), wrong
        self.asked: list[np.ndarray] = []
        self.scored: list[np.ndarray] = []

    def run(self, attack: ADC, problem: Problem, steps: int) -> State:
        state = attack.start(problem, np.random.default_rng(0))
        for number in range(steps):
            step, answer = attack.step(state, problem, np.random.default_rng(number)), None
            while True:
                try:
                    request = step.send(answer)
                except StopIteration as stop:
                    state = State.from_json(stop.value.to_json())
                    break
                if isinstance(request, RelaxedGradient):
                    self.asked.append(request.weights)
                    loss = float((request.weights * self.slope).sum())
                    answer = RelaxedAnswer(loss, self.slope, self.wrong[len(self.asked) - 1])
                else:
                    assert isinstance(request, Score)
                    self.scored.append(request.candidates)
                    answer = self.slope[np.arange(TOKENS), request.candidates].sum(axis=1)
        return state


def test_the_entries_left_follow_the_number_of_wrong_tokens() -> None:
    """e^0 = 1, e^1 = 2.72, e^2 = 7.39, e^3 = 20.09; e^20 is more than there are, which leaves all."""
    wrong = [20, 3, 2, 1, 0, 0.5, 2, 0]
    model = Linear(wrong)
    model.run(adc(updates=4, learning_rate=1e-3, momentum=0.0), pretend_problem(), 2)
    assert (model.asked[0] > 0).all()
    left = [(weights > 0).sum(axis=1) for weights in model.asked]
    for before, counts in zip(wrong, left[1:], strict=False):
        wanted = min(exp(before), ALLOWED)
        assert set(counts.tolist()) <= {int(wanted), int(wanted) + 1}
        assert counts.mean() == pytest.approx(wanted, abs=0.5 / TOKENS + 1e-9)
    assert left[5].tolist() == [1] * TOKENS  # nothing is wrong: tokens
    for weights in model.asked:
        np.testing.assert_allclose(weights.sum(axis=1), 1.0)


@given(seed=st.integers(0, 10**6), width=st.integers(1, 30), entries=st.floats(1, 40))
def test_the_heaviest_are_left_and_are_a_mixture(seed: int, width: int, entries: float) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(5, width)) - rng.choice([0.0, 10.0])  # also rows of which nothing is above 0
    found = project_to_sparse(rows, entries, rng)
    counts = (found > 0).sum(axis=1)
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    assert abs(counts.mean() - min(entries, width)) <= 0.1 + 1e-9
    assert counts.max() - counts.min() <= 1
    for row, own, count in zip(rows, found, counts, strict=True):
        left = np.flatnonzero(own)
        assert set(left) == set(np.argsort(-row)[:count])
        above = row[left] > 1e-3
        share = np.maximum(row[left], 0)[above]
        np.testing.assert_allclose(own[left][above] / own[left].max(), share / max(share, default=1.0), rtol=2e-3)


def test_updates_are_those_of_torch_with_a_momentum() -> None:
    model = Linear([30] * 6)  # nothing is left out
    model.run(adc(updates=3, learning_rate=0.002, momentum=0.9), pretend_problem(), 2)
    weights = torch.tensor(model.asked[0])
    descent = torch.optim.SGD([weights], lr=0.002, momentum=0.9)
    for asked in model.asked[1:]:
        weights.grad = torch.tensor(model.slope)
        descent.step()
        cut = weights.clamp(min=0) + 1e-6
        weights.copy_(cut / cut.sum(1, keepdim=True))
        np.testing.assert_allclose(asked, weights.numpy(), atol=1e-6)  # the state holds float32
    assert len(model.asked) == 6


def test_the_best_string_so_far_is_kept() -> None:
    model = Linear([1] * 24)
    state = model.run(adc(updates=6, learning_rate=0.02), pretend_problem(), 4)
    strings = [tuple(rows[0].tolist()) for rows in model.scored]
    losses = [float(model.slope[np.arange(TOKENS), list(s)].sum()) for s in strings]
    assert state.loss == pytest.approx(min(losses))
    assert state.tokens == strings[int(np.argmin(losses))]
    assert all(one != other for one, other in pairwise(strings))


def test_a_victim_that_does_not_tell_is_an_error_in_words() -> None:
    with pytest.raises(AccessError, match=r"how many target tokens are wrong, .* use pgd"):
        Linear([None]).run(adc(), pretend_problem(), 1)
    assert entries_left(RelaxedAnswer(0.0, np.zeros((1, 1)), 1e9), 7) == 7


@pytest.mark.parametrize("params", [{"momentum": 1.0}, {"momentum": -0.1}, {"learning_rate": 0}, {"updates": 0}])
def test_parameters_out_of_range_are_errors(params: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ADC.Params(**params)
