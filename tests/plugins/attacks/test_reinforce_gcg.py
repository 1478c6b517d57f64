"""REINFORCE-GCG with made-up answers: how they are weighed, asked about and remembered, and what a step costs."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given, strategies as st

from harness.api.problem.problem import Problem
from harness.api.problem.state import State
from harness.api.refs import PluginRef
from harness.api.requests import Generate, Gradient, Score
from harness.api.threat import Threat
from harness.engine.defended.victim import DefendedVictim
from harness.engine.dry_run import dry_run_attack
from harness.errors import DataError
from harness.testing.toys.examples import ordinary
from plugins.attacks.white_box.reinforce_gcg import ReinforceGCG, answer_weights, best_answer
from plugins.judges.refusal_match import RefusalMatch
from tests.engine.toy import searching
from tests.plugins.attacks.scripted_model import REFUSAL, ScriptedModel, request
from tests.plugins.attacks.test_gcg import answer_for

TARGET = " Sure"
THREAT = Threat(tokens=4, access="gradient")
rewards_of = st.lists(st.floats(0, 1), min_size=2, max_size=6)


def attack(**params: Any) -> ReinforceGCG:
    return ReinforceGCG(ReinforceGCG.Params(**{"candidates": 12, "topk": 6} | params))


# -- weights ----------------------------------------------------------------------------------------------------------


@given(rewards_of, st.floats(0, 1))
def test_weights_are_rewards_less_the_mean_of_the_others(rewards: list[float], baseline: float) -> None:
    answers = [f"answer {i}" for i in range(len(rewards))]
    every = [*rewards, baseline]
    wanted = np.asarray([r - np.mean(every[:i] + every[i + 1 :]) for i, r in enumerate(rewards)])
    found = answer_weights(answers, rewards, baseline)
    size = np.abs(wanted).sum()
    if size < 1e-6:
        return
    assert sum(map(abs, found.values())) == pytest.approx(1.0)
    for answer, weight in zip(answers, wanted / size, strict=True):
        assert found.get(answer, 0.0) == pytest.approx(weight, abs=1e-6)


@given(rewards_of, st.floats(0, 1), st.floats(0, 5))
def test_what_all_rewards_have_in_common_has_no_say(rewards: list[float], baseline: float, more: float) -> None:
    answers = [f"answer {i}" for i in range(len(rewards))]
    if np.ptp([*rewards, baseline]) < 1e-3:
        return
    one = answer_weights(answers, rewards, baseline)
    other = answer_weights(answers, [reward + more for reward in rewards], baseline + more)
    for answer in answers:
        assert one.get(answer, 0.0) == pytest.approx(other.get(answer, 0.0), abs=1e-6)


def test_equal_answers_are_one_and_silence_has_a_reward_alone() -> None:
    found = answer_weights([TARGET, "yes", "yes", ""], [0.5, 1.0, 1.0, 0.0], 0.1)
    #  target 0.5 - 2.1 / 4, each "yes" 1 - 1.6 / 4; sizes add up to 0.025 + 1.2
    assert found == {TARGET: pytest.approx(-0.025 / 1.225), "yes": pytest.approx(1.2 / 1.225)}
    assert answer_weights(["a", "b"], [0.3, 0.3], 0.3) == {}


def test_the_first_of_the_best_answers_is_kept() -> None:
    assert best_answer(["a", "b", "c"], [0.2, 0.9, 0.9], 0.1) == {"answer": "b", "reward": 0.9}
    assert best_answer(["a", " "], [0.1, 1.0], 0.1) == {}


# -- a step -----------------------------------------------------------------------------------------------------------


class Model:
    """Gives made-up answers, gradients and losses, and keeps what it was asked."""

    def __init__(self, problem: Problem, answers: list[list[str | None]], blocked: bool = False) -> None:
        self.problem, self.answers, self.blocked = problem, iter(answers), blocked
        self.generates: list[Generate] = []
        self.gradients: dict[Any, np.ndarray] = {}
        self.losses: dict[Any, np.ndarray] = {}
        self.candidates: list[np.ndarray] = []

    def run(self, made: ReinforceGCG, state: State) -> State:
        step, answer = made.step(state, self.problem, np.random.default_rng(5)), None
        while True:
            try:
                asked = step.send(answer)
            except StopIteration as stop:
                return State.from_json(stop.value.to_json())
            rng = np.random.default_rng([ord(c) for c in str(getattr(asked, "target", ""))])
            if isinstance(asked, Generate):
                self.generates.append(asked)
                answer = next(self.answers)
                assert len(answer) == len(asked.prompts)
            elif isinstance(asked, Gradient):
                assert asked.top == len(self.problem.allowed)
                answer = answer_for(self.problem, rng, asked.top)
                full = np.zeros((4, len(self.problem.allowed)))
                np.put_along_axis(full, np.searchsorted(self.problem.allowed, answer.tokens), answer.values, axis=1)
                self.gradients[asked.target] = full
            else:
                assert isinstance(asked, Score)
                self.candidates.append(asked.candidates)
                answer = np.full(len(asked.candidates), np.inf) if self.blocked else rng.random(len(asked.candidates))
                self.losses[asked.target] = answer


def test_a_step_weighs_gradients_and_losses_of_all_answers() -> None:
    problem = request(THREAT)
    model = Model(problem, [[REFUSAL], ["Once, a lie.", REFUSAL]])
    made = attack(samples=2)
    state = made.start(problem, np.random.default_rng(0))
    after = model.run(made, state)
    greedy, drawn = model.generates
    assert (greedy.temperature, len(greedy.prompts)) == (0.0, 1)
    assert (drawn.temperature, drawn.prompts) == (0.7, greedy.prompts * 2)
    assert greedy.prompts == tuple(problem.prompts(state.array[None]))
    weights = answer_weights([TARGET, REFUSAL, "Once, a lie.", REFUSAL], [0.5, 0.0, 1.0, 0.0], 0.1)
    assert weights["Once, a lie."] > weights[TARGET] > 0 > weights[REFUSAL]
    assert set(model.gradients) == set(model.losses) == set(weights)
    gradient = sum(weight * model.gradients[text] for text, weight in weights.items())
    lowest = problem.allowed[np.argsort(gradient, axis=1, kind="stable")[:, :6]]
    for candidates in model.candidates:
        np.testing.assert_array_equal(candidates, model.candidates[0])
    for at, position in np.argwhere(model.candidates[0] != state.array):
        assert model.candidates[0][at, position] in lowest[position]
    losses = sum(weight * model.losses[text] for text, weight in weights.items())
    best = int(np.argmin(losses))
    assert after.tokens == tuple(model.candidates[0][best].tolist())
    assert after.loss == pytest.approx(float(losses[best]))
    assert after.memory == {"answer": "Once, a lie.", "reward": 1.0}


def test_the_best_answer_so_far_goes_on_to_count() -> None:
    problem, made = request(THREAT), attack(samples=1)
    string = tuple(problem.random_tokens(np.random.default_rng(0)).tolist())
    before = State(string, -3.0, {"answer": "A", "reward": 0.8})
    model = Model(problem, [[REFUSAL], [None]])  # a guard refused the drawn one
    after = model.run(made, before)
    assert set(model.losses) == {"A", TARGET, REFUSAL}
    assert after.memory == before.memory
    assert after.tokens != before.tokens  # though its loss, of other answers, was lower


def test_what_a_guard_blocks_is_never_taken_and_nothing_is_lost_where_it_blocks_all() -> None:
    problem, made = request(THREAT), attack(samples=0)
    state = made.start(problem, np.random.default_rng(0))
    after = Model(problem, [[REFUSAL]], blocked=True).run(made, state)
    assert (after.tokens, after.loss) == (state.tokens, None)


def test_a_judging_model_gives_the_rewards() -> None:
    problem = request(THREAT)
    made = attack(samples=1, judge=PluginRef(name="somebody"))
    model = Model(problem, [["An answer."], [""], ["rating: 4"]])
    after = model.run(made, made.start(problem, np.random.default_rng(0)))
    assert model.generates[2].model == "judge"
    assert "An answer." in model.generates[2].prompts[0]
    assert len(model.generates[2].prompts) == 1  # what is empty is not rated
    assert after.memory == {"answer": "An answer.", "reward": pytest.approx(1 / 3)}


def test_a_search_runs_and_is_paid_for() -> None:
    victim = ScriptedModel(lambda prompt: "Once, a lie." if crc32(prompt.encode()) % 2 else REFUSAL)
    rows = searching(
        DefendedVictim(victim, answer_tokens=8),
        attack(steps=2, answer_tokens=8),
        granted="gradient",
        judge=RefusalMatch(RefusalMatch.Params()),
    ).run([request(THREAT)])
    assert [row.step for row in rows.rows] == [1, 2]
    for row in rows.rows:
        answers = (row.queries - 2) // 13  # each is differentiated once and scored with 12 candidates
        assert row.queries == 2 + 13 * answers
        assert 1 <= answers <= 4


def test_the_cost_of_a_step() -> None:
    data = ordinary("text", "gradient").data
    spent = dry_run_attack(attack(candidates=10, samples=3), THREAT, data)
    assert spent.answered == 4
    assert spent.differentiated == pytest.approx(spent.scored / 10)
    assert 5 <= spent.differentiated <= 6  # target, greedy, three drawn, from the second step on the best so far
    rated = dry_run_attack(attack(candidates=10, samples=3, judge=PluginRef(name="somebody")), THREAT, data)
    assert 0 < rated.auxiliary["judge"].answered <= 4


def test_tasks_with_labels_are_refused() -> None:
    with pytest.raises(DataError, match="reinforce_gcg looks at answers in text"):
        attack().check(ordinary("labels", "gradient").data)
