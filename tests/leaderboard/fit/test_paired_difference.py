"""The interval of the difference between two shares of the same examples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from leaderboard.fit.compared.paired_difference import PairedOutcomes, paired_difference
from tests.benchmarks.intervals.__main__ import GROUPS, is_wrong, measure


def outcomes(both: int, first: int, second: int, neither: int, unlisted: int = 0) -> PairedOutcomes:
    """Counts of examples that both got right, the first alone, the second alone, and neither; ``unlisted`` more that
    both got right and records do not list.
    """
    pairs = [(True, True)] * both + [(True, False)] * first + [(False, True)] * second + [(False, False)] * neither
    columns = np.array(pairs, dtype=np.bool_).reshape(-1, 2)
    right = both + first + unlisted, both + second + unlisted
    total = len(pairs) + unlisted
    return PairedOutcomes(right, (total, total), [f"e{at}" for at in range(len(pairs))], columns[:, 0], columns[:, 1])


def test_one_seed_is_bonett_and_prices_interval() -> None:
    found = paired_difference([outcomes(70, 12, 3, 15)])
    assert found is not None
    # (12 − 3) / 102 ± 1.96 · sqrt((13/102 + 4/102 − (9/102)²) / 102)
    half = 1.959964 * ((13 / 102 + 4 / 102 - (9 / 102) ** 2) / 102) ** 0.5
    assert found.value == pytest.approx(0.09)
    assert (found.low, found.high) == (pytest.approx(9 / 102 - half), pytest.approx(9 / 102 + half))
    assert (found.trials, found.pairs, found.seeds) == (100, 100, 1)


counts = st.integers(0, 30)
tables = st.tuples(counts, counts, counts, counts, counts).filter(lambda each: sum(each[:4]) > 0)


@settings(max_examples=60, deadline=None)
@given(st.lists(tables, min_size=1, max_size=4))
def test_laws(of_seeds: list[tuple[int, int, int, int, int]]) -> None:
    seeds = [outcomes(*of_seed) for of_seed in of_seeds]
    turned = [
        PairedOutcomes(seed.successes[::-1], seed.trials[::-1], seed.names, seed.second, seed.first) for seed in seeds
    ]
    found, back = paired_difference(seeds), paired_difference(turned)
    assert found is not None
    assert back is not None
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high
    ends = (back.value, back.low, back.high)
    assert ends == (pytest.approx(-found.value), pytest.approx(-found.high), pytest.approx(-found.low))


def test_pairs_that_agree_tell_more_than_independent_shares() -> None:
    alike, unlike = paired_difference([outcomes(90, 2, 0, 8)]), paired_difference([outcomes(70, 16, 14, 0)])
    assert alike is not None
    assert unlike is not None
    assert alike.value == pytest.approx(unlike.value)
    assert alike.high - alike.low < 0.4 * (unlike.high - unlike.low)


def test_what_is_not_listed_counts_as_the_listed_ones_do_and_at_most_as_independent() -> None:
    few = paired_difference([outcomes(30, 2, 0, 0)])
    more = paired_difference([outcomes(30, 2, 0, 0, unlisted=320)])
    none = paired_difference([replace(outcomes(0, 0, 0, 0, 100), successes=(90, 80))])
    assert few is not None
    assert more is not None
    assert none is not None
    assert more.high - more.low < 0.5 * (few.high - few.low), "of eleven times as many"
    assert more.pairs == 32
    independent = 2 * 1.959964 * ((0.9 * 0.2 + 0.1 * 0.8) / 100) ** 0.5
    assert none.high - none.low == pytest.approx(independent, rel=0.1)


def test_seeds_that_differ_widen_the_interval_and_shared_examples_do_too() -> None:
    same = paired_difference([outcomes(80, 10, 2, 8)] * 3)
    differ = paired_difference([outcomes(80, 10 + shift, 2, 8 - shift) for shift in (-6, 0, 6)])
    seeds = [outcomes(80, 10, 2, 8)] * 3
    apart = paired_difference(
        [replace(seed, names=[f"{at} {name}" for name in seed.names]) for at, seed in enumerate(seeds)]
    )
    assert same is not None
    assert differ is not None
    assert apart is not None
    assert differ.high - differ.low > 1.5 * (same.high - same.low)
    assert same.high - same.low > 1.2 * (apart.high - apart.low), "the same examples err in every seed"


def test_without_a_seed_there_is_none() -> None:
    assert paired_difference([]) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["1 seed × 256, 32 listed, log-odds differ by 0", "5 seeds × 100, log-odds differ by 0.56, same examples"],
)
def test_intervals_hold_the_truth_and_seldom_say_that_more_is_lost(name: str) -> None:
    (design,) = [design for design in GROUPS["Loss of utility"] if design.name == name]
    found = measure("Loss of utility", design, 60)
    assert found["held on average"] >= 0.94
    assert found["said to lose more than it does"] <= 0.025
    assert not is_wrong(design, found, 60)
