"""random_search changes few neighbouring places, never gets worse, and beats independent draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from harness.api.problem.state import State
from harness.api.requests import Score
from plugins.attacks.random_search import RandomSearch, neighbours
from plugins.attacks.random_token import RandomToken
from tests.engine.search.test_search import problems_of, search_of
from tests.engine.toy import ToyBackend


@given(st.integers(1, 12), st.integers(1, 15), st.integers(0, 40), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_neighbours_differ_in_one_stretch(size: int, width: int, count: int, seed: int) -> None:
    tokens, allowed = np.arange(size) + 500, np.arange(30)
    rows = neighbours(tokens, allowed, width, np.random.default_rng(seed), count)
    assert rows.shape == (count, size)
    for row in rows:
        changed = np.flatnonzero(row != tokens)
        assert len(changed) == min(width, size)
        assert changed[-1] - changed[0] == len(changed) - 1
        assert set(row[changed].tolist()) <= set(allowed.tolist())


def test_every_place_is_changed_equally_often() -> None:
    rows = neighbours(np.arange(5) + 500, np.arange(30), 1, np.random.default_rng(0), 10_000)
    counts = (rows != np.arange(5) + 500).sum(axis=0)
    assert counts.min() > 1_800
    assert counts.max() < 2_200


def test_the_first_string_is_scored_with_the_others_and_the_best_is_kept() -> None:
    backend = ToyBackend()
    (problem,) = problems_of(backend, 1)
    attack = RandomSearch(RandomSearch.Params(candidates=16))
    state = attack.start(problem, np.random.default_rng(0))
    step = attack.step(state, problem, np.random.default_rng(1))
    asked = next(step)
    assert isinstance(asked, Score)
    assert asked.candidates.shape == (16, 5)
    assert asked.candidates[0].tolist() == list(state.tokens)
    with pytest.raises(StopIteration) as end:
        step.send(np.arange(16.0))
    assert end.value.value == State(state.tokens, 0.0)
    rows = search_of(backend, RandomSearch(RandomSearch.Params(steps=8, candidates=16))).run([problem]).rows
    losses = [row.attack_loss for row in rows]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]


def test_it_beats_independent_draws_at_equal_compute() -> None:
    backend = ToyBackend()
    searched = search_of(backend, RandomSearch(RandomSearch.Params(steps=20, candidates=16))).run(problems_of(backend))
    drawn = search_of(backend, RandomToken(RandomToken.Params(steps=20, draws=16))).run(problems_of(backend))
    assert searched.cost == drawn.cost
    better = [a.state.loss < b.state.loss for a, b in zip(searched.strings, drawn.strings, strict=True)]  # type: ignore[operator]
    assert all(better)
