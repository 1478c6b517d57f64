"""PGD: the relaxed string takes the steps of Adam between two projections, and the best string of tokens is judged."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from pydantic import ValidationError

from harness.api.problem.placement import allowed_tokens, place
from harness.api.problem.problem import Problem
from harness.api.problem.state import State
from harness.api.refs import PluginRef
from harness.api.requests import RelaxedAnswer, RelaxedGradient, Score
from harness.api.threat import Threat
from harness.registry.defense_stack import make_stack
from harness.registry.loader import load_plugins
from harness.run.cell.attack import access_errors
from harness.spec.cells import CellSpec
from harness.testing.toys.backend import ToyLatent
from plugins.attacks._common.relaxed.adam import Adam
from plugins.attacks._common.relaxed.simplex import discretised, project_to_entropy, project_to_simplex
from plugins.attacks.pgd import LONGEST_GRADIENT, PGD, clipped
from tests.engine.toy import toy_examples
from tests.plugins.attacks.test_gcg import pretend_problem
from tests.plugins.conftest import task_data


def pgd(**params: Any) -> PGD:
    return PGD(PGD.Params(**params))


def toy_problem(tokens: int = 4) -> Problem:
    tokenizer = ToyLatent().tokenizer
    return place(toy_examples()[0], Threat(tokens=tokens), tokenizer, allowed_tokens(tokenizer))


class Linear:
    """Answers as a model whose loss is linear in the weights, and keeps what it was asked.

    Attributes:
        noise: of the gradients that it tells.
    """

    def __init__(self, slope: np.ndarray, noise: float = 0.0) -> None:
        self.slope, self.noise, self.told = slope, noise, np.random.default_rng(8)
        self.asked: list[np.ndarray] = []
        self.scored: list[np.ndarray] = []

    def answer(self, request: Any) -> Any:
        if isinstance(request, RelaxedGradient):
            self.asked.append(request.weights)
            gradient = self.slope + self.noise * self.told.normal(size=self.slope.shape)
            return RelaxedAnswer(float((request.weights * self.slope).sum()), gradient)
        assert isinstance(request, Score)
        self.scored.append(request.candidates)
        return self.slope[np.arange(len(self.slope)), request.candidates].sum(axis=1)

    def run(self, attack: PGD, problem: Problem, steps: int) -> State:
        state = attack.start(problem, np.random.default_rng(0))
        for number in range(steps):
            step, answer = attack.step(state, problem, np.random.default_rng(number)), None
            while True:
                try:
                    answer = self.answer(step.send(answer))
                except StopIteration as stop:
                    state = State.from_json(stop.value.to_json())
                    break
        return state


def test_updates_are_those_of_the_paper() -> None:
    """Adam as torch has it, projection onto the simplex, entropy projection of growing strength."""
    problem, model = pretend_problem(), Linear(np.random.default_rng(3).normal(size=(4, 50)))
    model.run(pgd(updates=3, learning_rate=0.05, entropy=0.6, anneal=4), problem, 2)
    weights = torch.tensor(model.asked[0])
    np.testing.assert_allclose(model.asked[0].sum(axis=1), 1.0)
    adam = torch.optim.Adam([weights], lr=0.05)
    for number, asked in enumerate(model.asked[1:], 1):
        weights.grad = torch.tensor(model.slope)
        adam.step()
        strength = 0.6 * min(1.0, number / 4)
        weights.copy_(torch.tensor(project_to_entropy(project_to_simplex(weights.numpy()), strength)))
        np.testing.assert_allclose(asked, weights.numpy(), atol=1e-6)  # the state holds float32
    assert len(model.asked) == 6


def test_the_strings_of_the_heaviest_tokens_are_scored_once_and_the_best_is_kept() -> None:
    problem, model = pretend_problem(), Linear(np.random.default_rng(4).normal(size=(4, 50)), noise=2.0)
    state = model.run(pgd(updates=6, learning_rate=0.02, entropy=0.0), problem, 4)
    strings = [tuple(rows[0].tolist()) for rows in model.scored]
    heaviest = [tuple(weights.argmax(axis=1).tolist()) for weights in model.asked[1:]]
    changes = [string for before, string in pairwise([None, *heaviest]) if string != before]
    assert strings[: len(changes)] == changes
    assert len(strings) - len(changes) in (0, 1)  # nothing is asked after the last update
    assert 1 < len(strings) < 24
    losses = [float(model.slope[np.arange(4), list(s)].sum()) for s in strings]
    assert state.loss == pytest.approx(min(losses))
    assert state.tokens == strings[int(np.argmin(losses))]
    assert int(np.argmin(losses)) != len(losses) - 1  # the best is not simply the last


@given(seed=st.integers(0, 10**6))
def test_long_gradients_are_cut_position_by_position(seed: int) -> None:
    gradient = np.random.default_rng(seed).normal(size=(3, 5)) * np.asarray([[0.0], [1.0], [1e3]])
    found = clipped(gradient)
    np.testing.assert_array_equal(found[:2], gradient[:2])
    assert np.linalg.norm(found[2]) == pytest.approx(min(LONGEST_GRADIENT, np.linalg.norm(gradient[2])))
    np.testing.assert_allclose(found[2] / np.linalg.norm(found[2]), gradient[2] / np.linalg.norm(gradient[2]))


def test_where_the_heaviest_tokens_merge_another_string_is_drawn_by_the_weights() -> None:
    problem = toy_problem()
    letters = [problem.tokenizer.encode([letter])[0][0] for letter in "brow"]  # merge into fewer tokens
    columns = np.searchsorted(problem.allowed, letters)
    alone = np.zeros((4, len(problem.allowed)))
    alone[np.arange(4), columns] = 1.0
    assert discretised(alone, problem, np.random.default_rng(0)).shape == (0, 4)
    others = np.random.default_rng(1).choice(len(problem.allowed), size=20, replace=False)
    mixed = 0.5 * alone
    mixed[:, others] += 0.5 / 20
    (string,) = discretised(mixed, problem, np.random.default_rng(2))
    assert problem.survives(string[None])[0]
    assert set(string.tolist()) <= {*letters, *problem.allowed[others].tolist()}
    plain = problem.random_tokens(np.random.default_rng(3))
    corner = (plain[:, None] == problem.allowed).astype(float)
    assert discretised(corner, problem, np.random.default_rng(4)).tolist() == [plain.tolist()]


def test_adam_goes_on_from_its_json() -> None:
    rng = np.random.default_rng(5)
    one = Adam(0.1, np.zeros((2, 3)), np.zeros((2, 3)))
    for _ in range(3):
        one.step(rng.normal(size=(2, 3)))
    other, gradient = Adam.from_json(one.to_json(), (2, 3), 0.1), rng.normal(size=(2, 3))
    np.testing.assert_allclose(other.step(gradient), one.step(gradient), rtol=1e-5)
    assert (other.updates, Adam.from_json({}, (2, 3), 0.1).updates) == (4, 0)


@pytest.mark.parametrize("params", [{"entropy": 1.1}, {"entropy": -0.1}, {"learning_rate": 0}, {"updates": 0}])
def test_parameters_out_of_range_are_errors(params: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PGD.Params(**params)


@pytest.mark.parametrize(
    ("defense", "static", "refuses"),
    [
        ("none", False, False),
        ("retokenization", False, True),
        ("perplexity_filter", False, True),
        ("retokenization", True, False),
    ],
)
def test_a_spec_is_told_before_it_runs_which_defenses_refuse(defense: str, static: bool, refuses: bool) -> None:
    registry, data = load_plugins().registry, task_data("word_length")
    names = {"task": "word_length", "victim": "tiny", "defense": defense, "attack": "pgd", "judge": "wrong_label"}
    parts = [registry.resolve(kind, PluginRef.model_validate(name)) for kind, name in names.items()]  # type: ignore[arg-type]
    task, victim, defended, attack, judge = parts
    if static:
        defended = make_stack((defended,), True, registry)
    cell = CellSpec(task, victim, defended, attack, judge, Threat(), 0, None, False, 1, 1)
    wanted = (
        f"attack pgd asks about relaxed strings, which are not texts, and defense {defense} needs a text; exclude it"
    )
    assert [str(error) for error in access_errors(cell, data)] == ([wanted] if refuses else [])
