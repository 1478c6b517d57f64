"""The paired difference of two shares: the definition of its interval, and what seeds that share examples tell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import ndtri, xlogy

from leaderboard.fit.compared.paired_difference import Rest, SeedPairs, paired_difference, tango_interval

Z = float(ndtri(0.975))
COUNTS = st.integers(0, 30)


def pairs_of(both: int, only_old: int, only_new: int, neither: int, start: int = 0) -> SeedPairs:
    """So many examples of each kind."""
    old = [True] * (both + only_old) + [False] * (only_new + neither)
    new = [True] * both + [False] * only_old + [True] * only_new + [False] * neither
    names = tuple(f"e{at}" for at in range(start, start + len(old)))
    return SeedPairs(names, np.array(old, dtype=bool), np.array(new, dtype=bool))


def score(only_new: int, only_old: int, pairs: int, difference: float) -> float:
    """Tango's statistic, the likelihood under the difference maximised by search."""

    def surprise(lost: float) -> float:
        gained, rest = lost + difference, 1 - 2 * lost - difference
        return -float(xlogy(only_new, gained) + xlogy(only_old, lost) + xlogy(pairs - only_new - only_old, rest))

    ends = max(0.0, -difference), (1 - difference) / 2
    lost = minimize_scalar(surprise, bounds=ends, method="bounded", options={"xatol": 1e-10}).x
    return (only_new - only_old - pairs * difference) / np.sqrt(pairs * (2 * lost + difference - difference**2))


@settings(max_examples=40, deadline=None)
@given(COUNTS, COUNTS, st.integers(1, 40))
def test_ends_are_where_the_score_test_begins_to_reject(only_new: int, only_old: int, alike: int) -> None:
    pairs = only_new + only_old + alike
    low, high = tango_interval(only_new, only_old, pairs, Z)
    assert -1 <= low < (only_new - only_old) / pairs < high <= 1
    assert score(only_new, only_old, pairs, low) == pytest.approx(Z, abs=1e-3)
    assert score(only_new, only_old, pairs, high) == pytest.approx(-Z, abs=1e-3)


def test_a_published_example() -> None:
    """12 and 2 discordant pairs of 50 (Newcombe 1998, table III; interval of Tango 1998)."""
    assert tango_interval(12, 2, 50, 1.96) == pytest.approx((0.0611, 0.3447), abs=1e-4)


@pytest.mark.parametrize("counts", [(5, 0, 0), (10, 5, 5), (5, 5, 0), (1, 1, 0), (1, 0, 1)])
def test_all_pairs_of_one_kind_have_an_interval(counts: tuple[int, int, int]) -> None:
    only_old, only_new = counts[2], counts[1]
    low, high = tango_interval(only_new, only_old, counts[0], Z)
    assert -1 <= low < high <= 1
    if only_new == counts[0]:
        assert high == 1


def test_one_seed_has_the_interval_of_tango_and_no_other() -> None:
    found = paired_difference([pairs_of(20, 3, 9, 18)], one_model=False)
    assert found is not None
    assert (found.old, found.new, found.value) == pytest.approx((23 / 50, 29 / 50, 6 / 50))
    assert (found.low, found.high) == pytest.approx(tango_interval(9, 3, 50, Z))
    assert (found.pairs, found.examples, found.only_old, found.only_new, found.seeds) == (50, 50, 3, 9, 1)
    assert paired_difference([], one_model=True) is None
    assert paired_difference([pairs_of(0, 0, 0, 0)], one_model=True) is None


@settings(max_examples=30, deadline=None)
@given(*[st.integers(0, 12)] * 4, st.booleans())
def test_to_swap_the_versions_turns_the_difference_round(
    both: int, only_old: int, only_new: int, neither: int, one_model: bool
) -> None:
    seeds = [pairs_of(both, only_old, only_new, neither + 1), pairs_of(neither, only_new, both, only_old + 1)]
    ahead = paired_difference(seeds, one_model=one_model)
    back = paired_difference([SeedPairs(seed.examples, seed.new, seed.old) for seed in seeds], one_model=one_model)
    assert ahead is not None
    assert back is not None
    assert (ahead.value, ahead.low, ahead.high) == pytest.approx((-back.value, -back.high, -back.low), abs=1e-6)


def width(seeds: list[SeedPairs], *, one_model: bool = True, **options: float) -> float:
    found = paired_difference(seeds, one_model=one_model, **options)
    assert found is not None
    return found.high - found.low


def test_seeds_that_say_the_same_of_the_same_examples_tell_nothing_more() -> None:
    one = pairs_of(20, 3, 9, 18)
    assert width([one] * 4) == pytest.approx(width([one]), rel=0.03)
    assert width([pairs_of(20, 0, 0, 30)] * 4) == pytest.approx(width([pairs_of(20, 0, 0, 30)]))


def test_seeds_with_examples_of_their_own_tell_more() -> None:
    seeds = [pairs_of(20, 3, 9, 18, start) for start in (0, 100, 200, 300)]
    assert width(seeds) == pytest.approx(width(seeds[:1]) / 2, rel=0.1)


def test_models_of_each_seed_are_draws_too() -> None:
    calm = [pairs_of(20, 6, 6, 18, start) for start in (0, 100, 200)]
    wild = [pairs_of(20, 12, 0, 18), pairs_of(20, 6, 6, 18, 100), pairs_of(20, 0, 12, 18, 200)]
    assert width(calm, one_model=False) >= width(calm)
    assert width(wild, one_model=False) > 2 * width(wild)


def test_pairs_matter_where_versions_agree() -> None:
    apart = width([pairs_of(0, 50, 50, 0)])
    alike = width([pairs_of(48, 2, 2, 48)])
    assert alike < apart / 3


def test_what_is_known_by_number_counts_as_unpaired() -> None:
    listed = pairs_of(40, 0, 10, 50)
    rest = Rest(old=20, old_trials=50, new=25, new_trials=50)
    found = paired_difference([SeedPairs(listed.examples, listed.old, listed.new, rest)], one_model=True)
    assert found is not None
    assert (found.old, found.new) == pytest.approx((60 / 150, 75 / 150))
    assert (found.pairs, found.examples, found.known_by_number) == (150, 150, 50)
    assert found.only_new == pytest.approx(10 + 50 * 0.5 * 0.6)
    same = Rest(old=0, old_trials=50, new=0, new_trials=50)
    assert width([SeedPairs(listed.examples, listed.old, listed.new, same)]) < width([listed])


def test_more_pairs_like_these_narrow_it() -> None:
    one = pairs_of(20, 3, 9, 18)
    assert width([one], times=4.0) == pytest.approx(width([one]) / 2, rel=0.05)
    assert width([one], level=0.995) > width([one])
