"""The certificate against brute force: every prompt within the radius, every way to make a copy."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.stats import binom

from harness.api.runtime_defense import Case
from plugins.defenses.random_smoothing import RandomSmoothing, certified_radius, clopper_pearson_lower_bound
from tests.engine.toy import toy_tokenizer

TOKENS = (0, 1, 2)
LENGTH = 5


def classify(row: tuple[int, ...], weights: np.ndarray) -> int:
    """Any function of a row: its label depends on which tokens it has and on their order."""
    return int(sum(weights[t] * (1 + 0.3 * i) for i, t in enumerate(row)) > 0)


def chance(row: tuple[int, ...], label: int, rate: float, noise: str, weights: np.ndarray) -> float:
    """Exact chance that a copy is given the label."""
    total = 0.0
    for chosen in product((False, True), repeat=len(row)):
        p = np.prod([rate if c else 1 - rate for c in chosen])
        if noise == "delete":
            kept = tuple(t for t, c in zip(row, chosen, strict=True) if not c) or (0,)
            total += p * (classify(kept, weights) == label)
            continue
        options = [TOKENS if c else (t,) for t, c in zip(row, chosen, strict=True)]
        made = [classify(copy, weights) == label for copy in product(*options)]
        total += p * np.mean(made)
    return float(total)


def changed(row: tuple[int, ...], radius: int, noise: str) -> set[tuple[int, ...]]:
    """Every row with at most so many tokens replaced, and for deletion also inserted or deleted."""
    found, last = {row}, {row}
    for _ in range(radius):
        new = set()
        for one in last:
            for i in range(len(one)):
                new |= {(*one[:i], t, *one[i + 1 :]) for t in TOKENS}
                if noise == "delete":
                    new |= {(*one[:i], *one[i + 1 :])}
            if noise == "delete":
                new |= {(*one[:i], t, *one[i:]) for i in range(len(one) + 1) for t in TOKENS}
        found |= new
        last = new
    return found


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["delete", "substitute"])
@pytest.mark.parametrize("rate", [0.5, 0.8])
def test_no_prompt_within_a_certified_radius_is_answered_otherwise(noise: str, rate: float) -> None:
    rng = np.random.default_rng(0)
    radii = []
    for _ in range(12):
        weights = rng.normal(size=3) + 0.8
        row = tuple(int(t) for t in rng.choice(TOKENS, size=LENGTH))
        label = max((0, 1), key=lambda y: chance(row, y, rate, noise, weights))
        radius = min(certified_radius(chance(row, label, rate, noise, weights), rate), 2)
        radii.append(radius)
        for other in changed(row, max(radius, 0), noise):
            assert chance(other, label, rate, noise, weights) > 0.5, (row, other, radius)
    assert max(radii) >= (rate > 0.5)  # a radius of 1 needs a rate above 1/2


@given(st.integers(1, 60), st.integers(0, 60), st.sampled_from([0.001, 0.05]))
def test_clopper_pearson_is_the_chance_at_which_so_many_successes_are_just_too_unlikely(
    trials: int, successes: int, alpha: float
) -> None:
    successes = min(successes, trials)
    bound = clopper_pearson_lower_bound(successes, trials, alpha)
    if successes:
        assert binom.sf(successes - 1, trials, bound) == pytest.approx(alpha, rel=1e-6)
    else:
        assert bound == 0.0


def test_a_radius_is_wrong_at_most_as_often_as_stated() -> None:
    rng = np.random.default_rng(1)
    right = rng.binomial(100, 0.6, size=4000)
    wrong = np.mean([clopper_pearson_lower_bound(int(k), 100, 0.05) > 0.6 for k in right])
    assert wrong <= 0.06


@pytest.mark.parametrize("noise", ["delete", "substitute"])
def test_copies_lose_or_change_each_token_with_the_same_chance(noise: str) -> None:
    smoothing = RandomSmoothing(RandomSmoothing.Params(rate=0.25, noise=noise))
    ids = np.arange(100, 140)
    made = [smoothing.add_noise(ids, np.random.default_rng(i), lambda: np.arange(3)) for i in range(2000)]
    kept = np.mean([np.isin(ids, copy) for copy in made], axis=0)
    np.testing.assert_allclose(kept, 0.75, atol=0.05)
    assert all(len(copy) == 40 for copy in made) == (noise == "substitute")


def test_a_copy_is_the_same_for_the_same_names() -> None:
    smoothing, tokenizer = RandomSmoothing(), toy_tokenizer()

    def copy(*names: str | int) -> object:
        asking = smoothing.copy(Case("The red fox jumps over the fence.", {}, tokenizer, names))
        with pytest.raises(StopIteration) as stop:
            asking.send(None)
        return stop.value.value

    assert copy("a", 1) == copy("a", 1)
    assert len({copy("a", i).ids for i in range(30)}) > 5  # type: ignore[attr-defined]


def test_rows_within_a_distance() -> None:
    row = (0, 1, 2)
    assert changed(row, 1, "substitute") == {
        tuple(t if i in where else row[i] for i in range(3)) for where in combinations(range(3), 1) for t in TOKENS
    }
