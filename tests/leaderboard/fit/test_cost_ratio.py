"""Ratios of the costs to break two versions: known crossings, what was never broken, what the same examples tell."""

from __future__ import annotations

import numpy as np
import pytest

from leaderboard.fit.compared.cost_ratio import BrokenExamples, CostRatio, cost_ratio

EXAMPLES, STEPS = 60, 24


def attack(first: np.ndarray, flops: float = 1e9) -> BrokenExamples:
    """Of one or more seeds [S, E]: the step, from 1, at which each example first falls; 0 for never."""
    first = np.atleast_2d(first)
    steps = np.arange(1, STEPS + 1)
    broken = (first[..., None] > 0) & (first[..., None] <= steps)
    spent = np.broadcast_to(steps * flops, broken.shape)
    names = [[f"e{at}" for at in range(first.shape[1])]] * len(first)
    return BrokenExamples(names, list(broken), list(spent))


def falling(half_at: int, spread: int = 8) -> np.ndarray:
    """Half of the examples have fallen at this step."""
    return np.clip(np.round(np.linspace(half_at - spread, half_at + spread, EXAMPLES)), 1, None).astype(int)


def ratio(old: BrokenExamples, new: BrokenExamples, *, one_model: bool = True) -> CostRatio:
    return cost_ratio(old, new, 0.5, one_model=one_model)


def test_twice_the_steps_cost_twice_as_much() -> None:
    found = ratio(attack(falling(9)), attack(falling(18, 6)))
    assert found.old == pytest.approx(9e9, rel=0.1)
    assert found.value == pytest.approx(2.0, rel=0.1)
    assert found.low is not None
    assert found.high is not None
    assert 1 < found.low < found.value < found.high
    back = ratio(attack(falling(18, 6)), attack(falling(9)))
    assert back.value is not None
    assert found.value is not None
    assert (back.value, back.low, back.high) == pytest.approx((1 / found.value, 1 / found.high, 1 / found.low))


def test_dearer_steps_are_dearer_to_the_same_degree() -> None:
    once, thrice = ratio(attack(falling(9)), attack(falling(9))), ratio(attack(falling(9)), attack(falling(9), 3e9))
    assert once.value == pytest.approx(1.0)
    assert thrice.value == pytest.approx(3.0)
    assert thrice.low is not None
    assert once.low is not None
    assert thrice.low == pytest.approx(3 * once.low)


def test_what_was_never_broken_bounds_the_ratio_from_one_side() -> None:
    never = np.zeros(EXAMPLES, dtype=int)
    held, fell = attack(never), attack(falling(9))
    better, worse = ratio(fell, held), ratio(held, fell)
    assert (better.new, better.value, better.high) == (None, None, None)
    assert better.low is not None
    assert 1 < better.low < STEPS / 9, "no more than the budget over the old cost"
    assert (worse.old, worse.value, worse.low) == (None, None, None)
    assert worse.high == pytest.approx(1 / better.low)
    neither = ratio(held, held)
    assert (neither.value, neither.low, neither.high) == (None, None, None)
    assert neither.old_budget == pytest.approx(STEPS * 1e9)


def test_the_same_examples_holding_out_in_both_narrow_it() -> None:
    rng = np.random.default_rng(1)
    first = falling(9)
    together, apart = (ratio(attack(first), attack(other)) for other in (first, rng.permutation(first)))
    assert None not in (together.low, together.high, apart.low, apart.high)
    assert together.high / together.low < (apart.high / apart.low) ** 0.7  # type: ignore[operator]


def test_seeds_of_one_model_are_searches_alone_and_the_same_search_twice_tells_nothing_more() -> None:
    rng = np.random.default_rng(2)
    old, new = falling(9), rng.permutation(falling(12))
    one = ratio(attack(old), attack(new))
    twice = ratio(attack(np.stack([old, old])), attack(np.stack([new, new])))
    assert (twice.value, twice.low, twice.high) == pytest.approx((one.value, one.low, one.high), rel=0.1)
    of_each = ratio(attack(np.stack([old, old])), attack(np.stack([new, new])), one_model=False)
    assert of_each.low is not None
    assert twice.low is not None
    assert of_each.low < twice.low


def test_an_attack_that_spends_nothing_has_no_ratio() -> None:
    found = ratio(attack(falling(9), flops=0.0), attack(falling(9), flops=0.0))
    assert (found.value, found.low, found.high) == (None, None, None)
