"""Tokens are drawn without replacement by their probabilities, from the seed alone, each string as if by itself."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats

from harness.engine.sampling import draw, draw_listed, gumbel, uniform

SEEDS = st.integers(-(2**70), 2**70)


@st.composite
def requests(draw_: Any) -> tuple[Any, ...]:
    """Log-probabilities with ties and zeros, allowed ids, k, seed, top."""
    n, vocabulary = draw_(st.integers(0, 5)), draw_(st.integers(1, 12))
    rng = np.random.default_rng(draw_(st.integers(0, 1000)))
    weights = rng.integers(0, 4, size=(n, vocabulary)).astype(float)  # few values: ties, and probability 0
    weights[:, 0] += 1.0
    allowed = np.flatnonzero(rng.random(vocabulary) < 0.7)
    with np.errstate(divide="ignore"):
        log_probs = np.log(weights / weights.sum(1, keepdims=True))
    top = draw_(st.none() | st.integers(1, 14))
    return log_probs, allowed, draw_(st.integers(1, 14)), draw_(SEEDS), top


@given(requests())
def test_what_is_drawn_is_allowed_and_drawn_once_with_its_own_log_probability(request: Any) -> None:
    log_probs, allowed, k, seed, top = request
    answer = draw(log_probs, allowed, k, seed, top)
    width = min(k, len(allowed), len(allowed) if top is None else top)
    assert answer.tokens.shape == answer.log_probs.shape == (len(log_probs), width)
    for row, tokens, values in zip(log_probs, answer.tokens, answer.log_probs, strict=True):
        assert len(set(tokens.tolist())) == width
        assert np.isin(tokens, allowed).all()
        assert (row[tokens] == values).all()
        if top is not None and top < len(allowed):
            order = sorted(allowed, key=lambda token: (-row[token], token))
            assert set(tokens) <= set(order[:top])
        possible = np.isfinite(values)
        assert (np.diff(possible.astype(int)) <= 0).all()  # the impossible comes after all that is possible


@given(requests(), st.data())
def test_a_string_draws_the_same_whatever_shares_the_request(request: Any, data: Any) -> None:
    log_probs, allowed, k, seed, top = request
    answer = draw(log_probs, allowed, k, seed, top)
    for i in range(len(log_probs)):
        alone = draw(log_probs[i : i + 1], allowed, k, seed, top, first=i)
        assert (alone.tokens[0] == answer.tokens[i]).all()
    fewer = draw(log_probs, allowed, max(1, k - 1), seed, top)
    assert (fewer.tokens == answer.tokens[:, : fewer.tokens.shape[1]]).all()


@given(requests(), st.randoms(use_true_random=False))
def test_a_backend_that_sees_the_top_alone_draws_the_same(request: Any, random: Any) -> None:
    log_probs, allowed, k, seed, top = request
    top = min(top or len(allowed), len(allowed))
    answer = draw(log_probs, allowed, k, seed, top)
    listed = []
    for row in log_probs:
        tokens = sorted(allowed.tolist(), key=lambda token: (-row[token], token))[:top]
        random.shuffle(tokens)
        listed.append(tokens)
    tokens = np.asarray(listed, dtype=np.int64).reshape(len(log_probs), top)
    again = draw_listed(tokens, np.take_along_axis(log_probs, tokens, 1), k, seed)
    assert (again.tokens == answer.tokens).all()
    assert (again.log_probs == answer.log_probs).all()


def in_order(chances: np.ndarray, k: int) -> dict[tuple[int, ...], float]:
    """Exact probability of each sequence of k tokens drawn one after another without replacement."""
    found = {}
    for tokens in permutations(range(len(chances)), k):
        probability, left = 1.0, 1.0
        for token in tokens:
            probability *= chances[token] / left
            left -= chances[token]
        found[tokens] = probability
    return found


@pytest.mark.slow
@pytest.mark.parametrize("vary", ["strings", "seeds"])
def test_frequencies_are_those_of_drawing_without_replacement(vary: str) -> None:
    chances, count = np.asarray([0.5, 0.2, 0.15, 0.1, 0.05]), 40_000
    log_probs = np.log(chances)[None]
    if vary == "strings":
        drawn = draw(np.repeat(log_probs, count, 0), np.arange(5), 3, seed=11).tokens
    else:
        drawn = np.concatenate([draw(log_probs, np.arange(5), 3, seed).tokens for seed in range(count)])
    exact = in_order(chances, 3)
    seen = dict.fromkeys(exact, 0)
    for tokens in map(tuple, drawn.tolist()):
        seen[tokens] += 1
    test = stats.chisquare(list(seen.values()), [count * p for p in exact.values()])
    assert test.pvalue > 1e-3  # the seeds are fixed: this passes always or never


def test_frequencies_among_the_top_are_those_of_the_top_alone() -> None:
    chances, count = np.asarray([0.1, 0.4, 0.05, 0.3, 0.15]), 20_000
    drawn = draw(np.repeat(np.log(chances)[None], count, 0), np.asarray([0, 1, 2, 3]), 1, seed=5, top=3).tokens[:, 0]
    seen = np.bincount(drawn, minlength=5)
    assert seen[[2, 4]].tolist() == [0, 0]
    among = np.asarray([0.1, 0.4, 0.3])
    assert stats.chisquare(seen[[0, 1, 3]], count * among / among.sum()).pvalue > 1e-3


def test_noise_is_uniform_inside_the_interval_and_unrelated_between_neighbours() -> None:
    noise = uniform(3, np.arange(200)[:, None], np.arange(500))
    assert 0 < noise.min() < noise.max() < 1
    assert stats.kstest(noise.ravel(), "uniform").pvalue > 1e-3
    other_seed = uniform(4, *np.ogrid[:200, :500])
    for one, other in [(noise[:-1], noise[1:]), (noise[:, :-1], noise[:, 1:]), (noise, other_seed)]:
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.015
    assert len(np.unique(noise)) == noise.size


@given(SEEDS, st.integers(0, 2**40), st.integers(0, 2**40))
def test_noise_belongs_to_seed_string_and_token(seed: int, string: int, token: int) -> None:
    many = gumbel(seed, np.asarray([[string], [string + 1]]), np.asarray([token, token + 1]))
    assert np.isfinite(many).all()
    assert many[0, 0] == gumbel(seed, np.asarray(string), np.asarray(token))
    assert len(set(many.ravel().tolist())) == 4
    assert many[0, 0] != gumbel(seed + 1, np.asarray(string), np.asarray(token))


def test_equally_likely_tokens_of_one_noise_go_by_their_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.engine.sampling.gumbel", lambda _seed, _strings, tokens: np.zeros(tokens.shape))
    answer = draw_listed(np.asarray([[4, 2, 9]]), np.asarray([[-1.0, -1.0, -0.5]]), 3, 0)
    assert answer.tokens.tolist() == [[9, 2, 4]]


def test_draws_stay_what_they_are() -> None:
    """Recorded: another version must draw the same from the same seed, or old runs cannot be gone on with."""
    answer = draw(np.log(np.full((2, 8), 1 / 8)), np.arange(8), 4, seed=2024)
    assert answer.tokens.tolist() == [[2, 0, 6, 7], [5, 3, 6, 1]]
