"""AutoDAN: which tokens become candidates, which one is written, when it is chosen again, and what a step costs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from harness.api.problem.placement import allowed_tokens, place
from harness.api.problem.problem import Problem
from harness.api.problem.state import State
from harness.api.requests import Gradient, Sample, SampleAnswer, Score
from harness.api.threat import Threat
from harness.engine.defended.victim import DefendedVictim
from harness.engine.dry_run import dry_run_attack
from harness.testing.toys.language_model import ToyLanguageModel
from plugins.attacks.random_token import RandomToken
from plugins.attacks.white_box.autodan import AutoDAN, chosen
from tests.engine.toy import searching, toy_examples
from tests.plugins.attacks.test_gcg import answer_for, pretend_problem

TOKENS = 4


def autodan(**params: Any) -> AutoDAN:
    return AutoDAN(AutoDAN.Params(**{"candidates": 6, "temperature": 0.0} | params))


def text_problem(tokens: int = TOKENS) -> Problem:
    tokenizer = ToyLanguageModel().tokenizer
    example = toy_examples(1, target=" over the fence")[0]
    return place(example, Threat(tokens=tokens, access="gradient"), tokenizer, allowed_tokens(tokenizer))


class Model:
    """Gives made-up probabilities, gradients and losses; the loss of a string is that of its last token."""

    def __init__(self, problem: Problem) -> None:
        rng = np.random.default_rng(2)
        self.problem, self.asked = problem, list[Any]()
        self.log_probs = np.log(rng.dirichlet(np.ones(len(problem.allowed))))
        self.losses = rng.random(problem.tokenizer.vocabulary)
        self.slopes: list[np.ndarray] = []

    def step(self, made: AutoDAN, state: State, seed: int = 0) -> State:
        step, answer = made.step(state, self.problem, np.random.default_rng(seed)), None
        while True:
            try:
                request = step.send(answer)
            except StopIteration as stop:
                return State.from_json(stop.value.to_json())
            self.asked.append(request)
            if isinstance(request, Sample):
                order = np.argsort(-self.log_probs)
                answer = SampleAnswer(self.problem.allowed[order][None], self.log_probs[order][None])
            elif isinstance(request, Gradient):
                made_up = answer_for(self.problem, np.random.default_rng(len(self.slopes)), request.top)
                part = replace(
                    made_up,
                    tokens=made_up.tokens[-len(request.tokens) :],
                    values=made_up.values[-len(request.tokens) :],
                )
                slope = np.empty(len(self.problem.allowed))
                slope[np.searchsorted(self.problem.allowed, part.tokens[-1])] = part.values[-1]
                self.slopes.append(slope)
                answer = part
            else:
                answer = self.losses[request.candidates[:, -1]]


def prompted(problem: Problem) -> Problem:
    """With a token before the string, so that there is something to go on from."""
    return replace(problem, before=np.asarray([7]))


def test_a_step_chooses_candidates_and_a_token_as_the_paper_does() -> None:
    problem = prompted(pretend_problem())
    model = Model(problem)
    after = model.step(autodan(gradient_weight=3.0, loss_weight=2.0, choices=1), State((), None, {"written": [4, 9]}))
    sample, gradient, score = model.asked
    assert (sample.strings.tolist(), sample.k, sample.model) == ([[4, 9]], 50, "sampler")
    assert gradient.tokens[:2].tolist() == [4, 9]
    assert (len(gradient.tokens), gradient.top) == (3, 50)
    wanted = problem.allowed[np.argsort(3.0 * model.slopes[0] - model.log_probs, kind="stable")[:6]]
    assert score.candidates.tolist() == [[4, 9, token] for token in wanted]
    best = max(wanted, key=lambda token: model.log_probs[token] - 2.0 * model.losses[token])
    assert after.memory == {"written": [4, 9, best]}
    lowest = min(wanted, key=lambda token: model.losses[token])
    assert (after.tokens, after.loss) == ((4, 9, lowest), model.losses[lowest])  # the best so far is judged


def test_a_token_is_chosen_anew_until_it_is_one_that_was_chosen_before() -> None:
    problem = prompted(pretend_problem())
    model = Model(problem)
    model.step(autodan(gradient_weight=0.0, choices=9), State((), None, {"written": [4]}))
    first, second = [request for request in model.asked if isinstance(request, Gradient)]
    assert second.tokens[-1] in model.asked[2].candidates[:, -1]  # the first choice, and it is the second as well
    assert isinstance(model.asked[0], Sample)
    assert len(model.asked) == 5
    assert first.tokens[-1] != second.tokens[-1]
    model.asked.clear()
    model.step(autodan(gradient_weight=50.0, choices=3), State((), None, {"written": [4]}))
    assert [type(request) for request in model.asked] == [Sample, *[Gradient, Score] * 3]


def test_a_full_string_is_followed_by_another() -> None:
    problem = prompted(pretend_problem())
    model, made = Model(problem), autodan(choices=1)
    state, lengths = made.start(problem, np.random.default_rng(0)), []
    for seed in range(6):
        state = model.step(made, state, seed)
        lengths.append(len(state.memory["written"]))
    assert lengths == [1, 2, 3, 4, 1, 2]


def test_where_nothing_stands_before_the_string_all_tokens_are_as_likely() -> None:
    model = Model(pretend_problem())
    model.step(autodan(choices=1), State(()))
    assert [type(request) for request in model.asked] == [Gradient, Score]


def test_where_nothing_can_follow_the_last_token_is_written_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = prompted(pretend_problem())
    model = Model(problem)
    monkeypatch.setattr(Problem, "survives", lambda self, rows: np.zeros(len(rows), dtype=bool))
    before = State((3,), 0.5, {"written": [4, 9]})
    assert model.step(autodan(), before) == replace(before, memory={"written": [4]})


@given(st.integers(0, 10**6))
def test_the_choice_is_the_highest_or_drawn_by_the_softmax(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=5)
    assert chosen(scores, 0.0, rng) == int(scores.argmax())
    assert chosen(scores, 1e-6, rng) == int(scores.argmax())
    assert chosen(np.asarray([-np.inf, 3.0, np.nan]), 1.0, rng) == 1
    assert chosen(np.full(3, -np.inf), 1.0, rng) in (0, 1, 2)


def test_drawn_choices_have_the_softmaxs_chances() -> None:
    rng = np.random.default_rng(0)
    found = np.bincount([chosen(np.log([0.2, 0.3, 0.5]), 1.0, rng) for _ in range(4000)]) / 4000
    np.testing.assert_allclose(found, [0.2, 0.3, 0.5], atol=0.03)


def test_without_the_loss_it_writes_what_the_model_would() -> None:
    problem, model = text_problem(), ToyLanguageModel()
    made = autodan(steps=3, gradient_weight=0.0, loss_weight=0.0, choices=1, candidates=40)
    victim = DefendedVictim(model)
    search = searching(victim, made, granted="gradient", models={"sampler": victim})
    written: list[int] = search.run([problem]).strings[0].state.memory["written"]
    row = list(problem.before)
    for token in written:
        logits = model._memory(np.asarray(row)) @ model.out
        longer = np.asarray([*row[len(problem.before) :]], dtype=np.int64)
        order = problem.allowed[np.argsort(-logits[problem.allowed], kind="stable")]
        fitting = next(t for t in order if problem.survives(np.append(longer, t)[None])[0])
        assert token == fitting
        row.append(token)
    assert len(written) == 3


def test_it_finds_likelier_strings_of_lower_loss_than_random_draws_at_equal_compute() -> None:
    problem, model = text_problem(), ToyLanguageModel()
    victim = DefendedVictim(model)
    made = AutoDAN(AutoDAN.Params(steps=4, candidates=60, choices=2))
    found = searching(victim, made, granted="gradient", models={"sampler": victim}).run([problem])
    random = RandomToken(RandomToken.Params(steps=4, draws=130))
    drawn = searching(victim, random, granted="gradient").run([problem])
    assert found.cost.nominal <= drawn.cost.nominal
    assert found.rows[-1].attack_loss < drawn.rows[-1].attack_loss


def test_the_cost_of_a_step() -> None:
    spent = dry_run_attack(autodan(candidates=10, choices=2), Threat(tokens=4, access="gradient"))
    assert 1 <= spent.differentiated <= 2
    assert spent.scored == pytest.approx(10 * spent.differentiated)
    assert spent.auxiliary["sampler"].sampled == pytest.approx(1.0)


@pytest.mark.parametrize("params", [{"candidates": 0}, {"choices": 0}, {"temperature": -1}, {"loss_weight": -1}])
def test_parameters_out_of_range_are_errors(params: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AutoDAN.Params(**params)
