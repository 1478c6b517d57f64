"""ASR@j: an unbiased estimate, and what a beta-binomial says of more asks than there were answers."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.stats import binom

from leaderboard.fit.repeated.asr_at import chance_so_far, mean_chance, no_success
from leaderboard.fit.repeated.extrapolation import MIN_BROKEN, MIN_PROMPTS, extrapolate
from leaderboard.fit.repeated.prompt_chances import beta, beta_or_never, kinds_of, normal_log_odds
from leaderboard.submission.verification.drawn_counts import MOST_APART, standard_errors_apart
from tests.benchmarks.intervals.repeated import AsrAtDesign, Extrapolations, Prompts


@given(st.integers(1, 12), st.integers(1, 12), st.floats(1e-6, 1))
def test_the_estimate_is_unbiased(samples: int, asks: int, chance: float) -> None:
    asks = min(asks, samples)
    broken = np.arange(samples + 1)
    expected = float(binom.pmf(broken, samples, chance) @ no_success(broken, samples, asks))
    assert expected == pytest.approx((1 - chance) ** asks, abs=1e-9)


@given(st.integers(1, 5), st.integers(0, 5), st.integers(1, 5))
def test_it_is_the_share_of_all_choices(samples: int, broken: int, asks: int) -> None:
    broken, asks = min(broken, samples), min(asks, samples)
    answers = [at < broken for at in range(samples)]
    choices = [c for c in product(range(samples), repeat=asks) if len(set(c)) == asks]
    none = sum(not any(answers[at] for at in choice) for choice in choices) / len(choices)
    assert float(no_success(np.array(broken), samples, asks)) == pytest.approx(none)


def test_steps_are_further_chances() -> None:
    broken = np.array([[1, 0, 2], [0, 0, 0]])
    assert chance_so_far(broken, 4, 1).tolist() == pytest.approx([1 - 3 / 4 * 2 / 4, 0.0])
    assert chance_so_far(broken, 4, 4).tolist() == [1.0, 0.0]


def test_alike_chances_make_a_narrower_interval_than_successes() -> None:
    names = [[str(i) for i in range(40)]]
    alike, split = mean_chance([np.full(40, 0.5)], names), mean_chance([np.repeat([0.0, 1.0], 20)], names)
    assert alike[0] == split[0] == 0.5
    assert alike[2] - alike[1] < 0.5 * (split[2] - split[1])


@pytest.mark.slow
def test_intervals_hold() -> None:
    rng = np.random.default_rng(0)
    assert AsrAtDesign(1, 100, 8).measure(rng, 100)["held on average"] > 0.92
    found = Extrapolations(Prompts(0.4, 1.0), 60, 8, 4).measure(rng, 40)
    assert found["ASR@j held"] > 0.85
    assert found["refused"] < 10


def test_all_shapes_tell_the_same_of_what_was_seen() -> None:
    rng = np.random.default_rng(1)
    chances = Prompts(0.3, 2.0).draw(rng, 4000)
    kinds = kinds_of(rng.binomial(8, chances), np.full(4000, 8))
    for shape in (beta, beta_or_never, normal_log_odds):
        fit = shape(kinds)
        asr = 1 - fit.none(8)[fit.logs.argmax()]
        assert asr == pytest.approx(Prompts(0.3, 2.0).truth(8), abs=0.03), shape.__name__
    likeliest = [shape(kinds).logs.max() for shape in (beta, beta_or_never, normal_log_odds)]
    assert likeliest[0] == pytest.approx(likeliest[1], abs=1.0)  # which holds the beta
    assert likeliest[0] > likeliest[2]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([[True] * 8] * (MIN_PROMPTS - 1), "19 prompts with 4 answers or more, 20 are needed"),
        ([[True, False, False]] * 50, "0 prompts with 4 answers or more"),
        ([[False] * 8] * 46 + [[True] * 8] * (MIN_BROKEN - 1), "an answer broke 4 of 50 prompts, 5 are needed"),
        # Each prompt falls once in eight answers, as no chance would have it.
        ([[at == place % 8 for at in range(8)] for place in range(80)], "Does not fit: of the prompts that half"),
    ],
)
def test_what_the_data_do_not_carry_is_refused(answers: list[list[bool]], words: str) -> None:
    found = extrapolate(answers).at(32)
    assert (found.value, found.low, found.high) == (None, None, None)
    assert words in found.note


def test_too_far_is_refused() -> None:
    rng = np.random.default_rng(2)
    answers = (rng.random((200, 8)) < Prompts(0.3, 1.0).draw(rng, 200)[:, None]).tolist()
    found = extrapolate(answers)
    assert found.held_out is not None
    assert found.held_out.passed
    near = found.at(32)
    assert near.value is not None
    assert near.low is not None
    assert near.high is not None
    assert near.low <= Prompts(0.3, 1.0).truth(32) <= near.high
    assert "8 answers to a prompt carry 128 asks at most" in found.at(129).note


def test_drawn_answers_of_two_rounds_are_compared_string_by_string() -> None:
    assert standard_errors_apart([(8, 8, 8, 8), (8, 0, 8, 0)]) == 0.0  # all alike tell nothing
    rng = np.random.default_rng(3)
    chances = rng.beta(0.5, 0.5, 300)
    honest = [(8, *rng.binomial(8, [c]).tolist(), 8, *rng.binomial(8, [c]).tolist()) for c in chances]
    assert abs(standard_errors_apart(honest)) < MOST_APART
    assert standard_errors_apart([(8, 0, 8, found) for *_, found in honest]) < -MOST_APART
