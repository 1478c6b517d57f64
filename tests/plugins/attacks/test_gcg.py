"""GCG does what the paper says: its losses and gradients are the model's, its candidates and states are as defined."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.api.problem.placement import allowed_tokens, place
from harness.api.problem.problem import Problem
from harness.api.problem.state import State
from harness.api.requests import Gradient, GradientAnswer, Score
from harness.api.task import Chunk, Edit, Example
from harness.api.threat import Threat
from harness.engine.defended.victim import DefendedVictim
from harness.engine.dry_run import FakeTokenizer
from plugins.attacks._common.substitutions import substitutions
from plugins.attacks.gcg import GCG
from plugins.judges.labels import WrongLabel
from tests.engine.toy import ToyBackend, searching, toy_examples
from tests.plugins.attacks.recorder import RecordingVictim

STEPS = 10


def gcg(**params: Any) -> GCG:
    return GCG(GCG.Params(**params))


def toy_problem(tokens: int = 4) -> Problem:
    """One example in the toy tokenizer."""
    tokenizer = ToyBackend().tokenizer
    return place(toy_examples()[0], Threat(tokens=tokens), tokenizer, allowed_tokens(tokenizer))


def pretend_problem(tokens: int = 4, vocabulary: int = 50) -> Problem:
    """Every string survives tokenisation."""
    empty = np.empty(0, dtype=np.int64)
    example = Example("pretend", (Chunk("", Edit.OVERWRITABLE),), 0, 1)
    return Problem(example, "", "", empty, empty, tokens, np.arange(vocabulary), FakeTokenizer())


def answer_for(problem: Problem, rng: np.random.Generator, top: int, loss: float = 1.0) -> GradientAnswer:
    """A made-up gradient: other tokens at each position."""
    top = min(top, len(problem.allowed))
    tokens = np.stack([rng.permutation(problem.allowed)[:top] for _ in range(problem.budget)])
    return GradientAnswer(loss, tokens, np.sort(-rng.random(tokens.shape), axis=1))


def drive(attack: GCG, problem: Problem, state: State, losses: Any, seed: int = 0, top: int | None = None) -> Any:
    """One step by hand; ``losses`` is called with the candidates.

    Returns:
        gradient request, score request, the made-up gradient, the state after the step.
    """
    rng = np.random.default_rng(seed)
    step = attack.step(state, problem, rng)
    asked = next(step)
    assert isinstance(asked, Gradient)
    gradient = answer_for(problem, np.random.default_rng(seed + 1), top or asked.top)
    scored = step.send(gradient)
    assert isinstance(scored, Score)
    with pytest.raises(StopIteration) as stop:
        step.send(losses(scored.candidates))
    return asked, scored, gradient, stop.value.value


# -- against a model --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.engine.hub_models import write_folder

    return write_folder(tmp_path_factory.mktemp("qwen"), "qwen2")


@pytest.fixture(params=["random qwen2", pytest.param("trained tiny", marks=pytest.mark.slow)])
def model(request: pytest.FixtureRequest) -> tuple[Path, Any, list[Problem]]:
    """Folder, backend, and problems that a victim answers."""
    if request.param == "trained tiny":
        victim = request.getfixturevalue("trained")("word_length", "26k")
        backend = victim.open()
        return victim.folder, backend, victim.problems(backend, 3)
    from harness.engine.open_backend import open_folder

    folder = request.getfixturevalue("qwen")
    backend = open_folder(folder, dtype="float32", device="cpu")
    allowed = allowed_tokens(backend.tokenizer)
    return folder, backend, [place(e, Threat(tokens=8), backend.tokenizer, allowed) for e in toy_examples(3)]


@pytest.mark.slow
@pytest.mark.parametrize("keep", ["this_step", "best_so_far"])
def test_ten_steps_are_those_of_an_independent_reference(model: Any, keep: str) -> None:
    from tests.plugins.attacks.reference import Reference

    folder, backend, problems = model
    reference, victim = Reference(folder), RecordingVictim(backend)
    attack = gcg(steps=STEPS, candidates=24, topk=48, keep=keep)
    result = searching(victim, attack, (0, "fidelity"), "gradient", WrongLabel()).run(problems)
    for problem, string in zip(problems, result.strings, strict=True):
        rows = [row for row in result.rows if row.example == problem.example.id]
        gradients, scores = victim.of(victim.gradients, problem), victim.of(victim.scores, problem)
        assert len(rows) == len(gradients) == len(scores) == STEPS
        best = np.inf
        for row, gradient, score in zip(rows, gradients, scores, strict=True):
            current, candidates = gradient.request.tokens, score.request.candidates
            assert len(candidates) == 24

            # every candidate: one position changed, to a token that the gradient favours there, still one text
            changed = candidates != current
            assert (changed.sum(axis=1) == 1).all()
            for k, position in np.argwhere(changed):
                assert candidates[k, position] in gradient.answer.tokens[position]
            for candidate in candidates:
                ids = reference.ids(reference.text(problem, candidate))
                assert ids == [*problem.before, *candidate, *problem.after]

            # its loss and the gradient: those of the plain model
            wanted = reference.losses(problem, candidates)
            np.testing.assert_allclose(score.answer, wanted, atol=1e-4, rtol=0)
            check_top(gradient, reference.one_hot_gradient(problem, current), problem)

            # the state after the step
            at = int(np.argmin(score.answer))
            if keep == "this_step" or score.answer[at] < best:
                assert row.attack_tokens == candidates[at].tolist()
                assert row.attack_loss == score.answer[at]
            best = min(best, score.answer[at])
            if keep == "best_so_far":
                assert row.attack_loss <= best
            np.testing.assert_allclose(reference.losses(problem, [row.attack_tokens]), row.loss, atol=1e-4)
        assert list(string.state.tokens) == rows[-1].attack_tokens


def check_top(exchange: Any, wanted: np.ndarray, problem: Problem) -> None:
    """The answer holds the most negative entries of ``wanted`` [S, vocabulary] among the allowed, best first."""
    top = exchange.request.top
    scale = np.abs(wanted).max()
    for position, (tokens, values) in enumerate(zip(exchange.answer.tokens, exchange.answer.values, strict=True)):
        row = wanted[position, problem.allowed]
        assert len(set(tokens.tolist())) == top
        assert np.isin(tokens, problem.allowed).all()
        np.testing.assert_allclose(values, wanted[position, tokens], atol=1e-5 * scale)
        np.testing.assert_allclose(values, np.sort(row)[:top], atol=1e-5 * scale)


def test_the_engine_goes_on_from_the_state() -> None:
    victim = RecordingVictim(ToyBackend())
    problem = toy_problem()
    result = searching(victim, gcg(steps=6, candidates=16, topk=8), (0, "x"), "gradient", WrongLabel()).run([problem])
    for row, following in zip(result.rows, victim.gradients[1:], strict=False):
        assert row.attack_tokens == following.request.tokens.tolist()


# -- by hand, without a model -----------------------------------------------------------------------------------------


def test_a_step_is_one_gradient_and_one_score() -> None:
    problem = toy_problem()
    attack = gcg(candidates=20, topk=30)
    state = attack.start(problem, np.random.default_rng(0))
    assert state.loss is None
    assert problem.survives(state.array[None]).all()
    asked, scored, gradient, _ = drive(attack, problem, state, lambda rows: np.arange(len(rows), dtype=float))
    assert asked.top == 30
    np.testing.assert_array_equal(asked.tokens, state.array)
    assert scored.candidates.shape == (20, 4)
    np.testing.assert_array_equal(scored.near, state.array)
    assert problem.survives(scored.candidates).all()
    changed = scored.candidates != state.array
    assert (changed.sum(axis=1) == 1).all()
    for k, position in np.argwhere(changed):
        assert scored.candidates[k, position] in gradient.tokens[position]


def test_this_step_goes_on_from_a_worse_string_and_best_so_far_does_not() -> None:
    problem = pretend_problem()
    state = State((1, 2, 3, 4), loss=0.5)
    worse = np.linspace(2.0, 1.0, 12)
    for keep in ("this_step", "best_so_far"):
        _, scored, _, after = drive(gcg(candidates=12, topk=9, keep=keep), problem, state, lambda _: worse)
        if keep == "this_step":
            assert (after.tokens, after.loss) == (tuple(scored.candidates[-1].tolist()), 1.0)
        else:
            assert after == state
        _, scored, _, after = drive(gcg(candidates=12, topk=9, keep=keep), problem, state, lambda _: worse - 0.9)
        assert (after.tokens, after.loss) == (tuple(scored.candidates[-1].tolist()), pytest.approx(0.1))


def test_the_first_string_counts_for_best_so_far() -> None:
    problem = pretend_problem()
    attack = gcg(candidates=5, topk=9, keep="best_so_far")
    first = problem.state(np.asarray([1, 2, 3, 4]))  # its loss, 1.0, comes with the first gradient
    _, _, _, after = drive(attack, problem, first, lambda rows: np.full(len(rows), 1.5))
    assert (after.tokens, after.loss) == (first.tokens, 1.0)
    _, scored, _, after = drive(attack, problem, first, lambda rows: np.full(len(rows), 0.5))
    assert after.tokens == tuple(scored.candidates[0].tolist())  # ties go to the earlier


def test_a_first_string_that_does_not_survive_has_no_loss_to_keep() -> None:
    problem = toy_problem()
    letters = [problem.tokenizer.encode([letter])[0][0] for letter in "brow"]  # merges into fewer tokens
    first = problem.state(np.asarray(letters))
    assert not problem.survives(first.array[None])[0]
    attack = gcg(candidates=30, topk=60, keep="best_so_far")
    _, scored, _, after = drive(attack, problem, first, lambda rows: np.full(len(rows), 9.0))
    assert after.tokens == tuple(scored.candidates[0].tolist())  # though the string itself scored 1.0


@pytest.mark.parametrize("keep", ["this_step", "best_so_far"])
def test_losses_that_are_no_numbers_are_never_taken(keep: str) -> None:
    problem = pretend_problem()
    attack = gcg(candidates=6, topk=9, keep=keep)
    state = State((1, 2, 3, 4), loss=3.0)
    for useless in (np.nan, np.inf):
        assert drive(attack, problem, state, lambda rows, v=useless: np.full(len(rows), v))[3] == state
    mixed = np.asarray([np.nan, np.inf, 2.0, np.nan, 1.0, np.inf])
    _, scored, _, after = drive(attack, problem, state, lambda _: mixed)
    assert (after.tokens, after.loss) == (tuple(scored.candidates[4].tolist()), 1.0)


def test_when_no_candidate_survives_the_state_stays() -> None:
    problem = toy_problem()
    state = problem.state(problem.random_tokens(np.random.default_rng(0)))
    attack = gcg(candidates=6, topk=1)
    step = attack.step(state, problem, np.random.default_rng(0))
    next(step)
    # the only choice at every position is the token that is there already
    scored = step.send(GradientAnswer(0.7, state.array[:, None], np.zeros((4, 1))))
    assert scored.candidates.shape == (0, 4)
    with pytest.raises(StopIteration) as stop:
        step.send(np.empty(0))
    assert stop.value.value == State(state.tokens, 0.7)


def test_a_topk_beyond_the_vocabulary_means_every_allowed_token() -> None:
    backend = ToyBackend()
    victim = RecordingVictim(backend)
    problem = toy_problem()
    attack = gcg(steps=2, candidates=40, topk=10**6)
    rows = searching(victim, attack, (0, "x"), "gradient", WrongLabel()).run([problem]).rows
    assert len(rows) == 2
    for exchange in victim.gradients:
        assert exchange.answer.tokens.shape == (4, len(problem.allowed))
        assert (np.sort(exchange.answer.tokens, axis=1) == problem.allowed).all()


def test_substitutions_are_uniform_over_positions_and_over_their_tokens() -> None:
    current = np.asarray([0, 1, 2])
    choices = np.asarray([[0, 5, 6, 7], [5, 1, 6, 7], [3, 4, 5, 6]])  # the current token is among two of them
    rows = substitutions(current, GradientAnswer(0.0, choices, np.zeros((3, 4))), np.random.default_rng(0), 30_000)
    changed = rows != current
    assert (changed.sum(axis=1) == 1).all()
    for position, allowed in enumerate(([5, 6, 7], [5, 6, 7], [3, 4, 5, 6])):
        mine = rows[changed[:, position], position]
        assert len(mine) == pytest.approx(10_000, abs=500)
        tokens, counts = np.unique(mine, return_counts=True)
        assert tokens.tolist() == allowed
        np.testing.assert_allclose(counts, 10_000 / len(allowed), rtol=0.08)


def test_positions_without_another_choice_are_left_alone() -> None:
    current = np.asarray([0, 1, 2])
    choices = np.asarray([[0], [9], [2]])
    rows = substitutions(current, GradientAnswer(0.0, choices, np.zeros((3, 1))), np.random.default_rng(0), 7)
    assert rows.tolist() == [[0, 9, 2]] * 7


def test_a_step_costs_its_candidates_and_one_backward_pass() -> None:
    backend, problem = ToyBackend(), toy_problem()
    attack = gcg(steps=3, candidates=10, topk=8)
    rows = searching(DefendedVictim(backend), attack, (0, "x"), "gradient", WrongLabel()).run([problem]).rows
    length = len(problem.before) + 4 + len(problem.after)
    for row in rows:
        assert row.queries == 11
        assert row.attack_nominal == 2 * backend.n_params * length * (10 + 3)
