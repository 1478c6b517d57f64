"""Momentum: the gradient that candidates are drawn by is a running mean over the steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.api.problem.placement import allowed_tokens, place
from harness.api.requests import GradientAnswer
from harness.api.task import Chunk, Edit, Example
from harness.api.threat import Threat
from plugins.attacks._common.momentum import lowest_mean_tokens, running_mean
from plugins.attacks._common.stored_array import encode_array
from plugins.attacks.gcg import GCG
from tests.engine.toy import searching
from tests.plugins.attacks.recorder import RecordingVictim
from tests.plugins.attacks.same_model import write_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("model")
    write_folder(where)
    return where


def run(folder: Path, **params: Any) -> tuple[Any, Any, RecordingVictim]:
    """The problem, where its search ended, and what was asked and answered."""
    from harness.engine.open_backend import open_folder

    victim = RecordingVictim(open_folder(folder, "generation", dtype="float32", device="cpu"))
    tokenizer = victim.backend.tokenizer
    chunks = (Chunk("Pick one word.\n"), Chunk("", Edit.OVERWRITABLE), Chunk("\nThe answer is"))
    problem = place(
        Example("one", chunks, target=" yes"), Threat(tokens=6), tokenizer, allowed_tokens(tokenizer, Threat())
    )
    result = searching(victim, GCG(GCG.Params(**params))).run([problem])
    return problem, result.strings[0], victim


def test_candidates_come_from_the_running_mean_of_scaled_gradients(folder: Path) -> None:
    momentum, top = 0.6, 24
    problem, _, victim = run(folder, steps=6, candidates=150, topk=top, momentum=momentum)
    mean = np.zeros((6, len(problem.allowed)))
    new = 0
    for step, (gradient, score) in enumerate(zip(victim.gradients, victim.scores, strict=True)):
        full = np.empty_like(mean)
        for position in range(6):
            order = np.argsort(gradient.answer.tokens[position])
            assert gradient.answer.tokens[position][order].tolist() == problem.allowed.tolist()  # told in full
            values = gradient.answer.values[position][order]
            full[position] = values / np.sqrt((values**2).sum())
        mean = full if step == 0 else momentum * mean + (1 - momentum) * full
        best = [set(problem.allowed[np.argsort(row)[:top]].tolist()) for row in mean]
        current = gradient.request.tokens
        for candidate in score.request.candidates:
            (position,) = np.flatnonzero(candidate != current)
            assert candidate[position] in best[position]
            new += candidate[position] not in gradient.answer.tokens[position, :top]
    assert new > 50  # plain GCG would not have tried these


def test_the_first_step_is_that_of_plain_gcg_which_remembers_nothing(folder: Path) -> None:
    (_, plain, without), (_, track, victim) = (
        run(folder, steps=2, candidates=40, topk=8, momentum=momentum) for momentum in (0.0, 0.9)
    )
    first, second = (
        [sorted(map(tuple, score.request.candidates.tolist())) for score in seen.scores] for seen in (without, victim)
    )
    assert first[0] == second[0]
    assert first[1] != second[1]
    assert (plain.state.memory, list(track.state.memory)) == ({}, ["mean_gradient"])


def test_the_mean_is_kept_as_it_is() -> None:
    allowed = np.asarray([3, 5, 8, 9])
    rng = np.random.default_rng(0)
    order = np.stack([rng.permutation(4) for _ in range(2)])
    gradient = GradientAnswer(1.0, allowed[order], rng.normal(size=(2, 4)))
    mean = running_mean(None, gradient, allowed, 0.5)
    assert mean.dtype == np.float32
    np.testing.assert_allclose(np.take_along_axis(mean, order, 1), _scaled(gradient.values), rtol=1e-6)
    assert len(encode_array(mean)) == 4 * -(-mean.nbytes // 3)
    np.testing.assert_array_equal(
        running_mean(encode_array(mean), gradient, allowed, 0.5), mean
    )  # the mean of a and a is a
    still = GradientAnswer(1.0, gradient.tokens, np.zeros((2, 4)))
    np.testing.assert_allclose(running_mean(encode_array(mean), still, allowed, 0.25), 0.25 * mean)


def _scaled(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=1, keepdims=True)


@pytest.mark.parametrize("top", [1, 3, 7, 50])
def test_favoured_tokens_are_the_lowest_best_first(top: int) -> None:
    allowed = np.arange(10, 17)
    mean = np.random.default_rng(top).normal(size=(5, 7)).astype(np.float32)
    answer = lowest_mean_tokens(mean, 2.0, allowed, top)
    assert answer.loss == 2.0
    np.testing.assert_array_equal(answer.tokens, allowed[np.argsort(mean, axis=1)[:, :top]])
    np.testing.assert_array_equal(answer.values, np.sort(mean, axis=1)[:, :top])
