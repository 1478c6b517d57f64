"""The word rule: distinct, disjoint, spread, and the same everywhere."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest
from hypothesis import given, strategies as st

from harness.errors import DataError
from plugins.tasks._data.splits import split_by_hash
from plugins.tasks._words.pseudo_words import CODAS, ONSETS, VOWELS, pseudo_words, stream_pseudo_words

lengths = st.tuples(st.integers(3, 12), st.integers(3, 12)).map(sorted)
seeds = st.integers(-(2**40), 2**40)


def test_sixty_thousand_words_are_distinct_and_spread_over_the_lengths() -> None:
    train, validation = pseudo_words(30_000, 0, 3, 10, "train"), pseudo_words(30_000, 0, 3, 10, "validation")
    assert len({*train, *validation}) == 60_000
    share = Counter(map(len, train + validation))
    assert sorted(share) == list(range(3, 11))
    assert min(share[length] for length in range(4, 11)) > 6_000
    assert share[3] > 800  # all that there are


@given(st.integers(0, 200), st.integers(0, 200), lengths, seeds, seeds)
def test_words_are_pronounceable_and_never_shared_between_splits_of_any_seeds(n, m, bounds, seed, other) -> None:
    low, high = bounds
    train, validation = pseudo_words(n, seed, low, high, "train"), pseudo_words(m, other, low, high, "validation")
    assert not {*train} & {*validation}
    for word in train + validation:
        assert low <= len(word) <= high
        assert word[0] in ONSETS
        assert word[1] in VOWELS
        assert {*word} <= {*ONSETS, *VOWELS, *CODAS}


@given(st.integers(0, 100), st.integers(0, 100), seeds)
def test_more_words_begin_with_fewer_words(n, more, seed) -> None:
    assert pseudo_words(n + more, seed, 3, 10)[:n] == pseudo_words(n, seed, 3, 10)


def test_every_word_of_a_length_comes_exactly_once() -> None:
    both = [*stream_pseudo_words(5, 3, 4, "train"), *stream_pseudo_words(5, 3, 4, "validation")]
    assert len({*both}) == len(both) == 17 * 5 * 10 + (17 * 5) ** 2


def test_another_seed_gives_another_order() -> None:
    assert pseudo_words(50, 0, 3, 10) != pseudo_words(50, 1, 3, 10)
    assert pseudo_words(3, 0, 3, 10) == ["lom", "tufolica", "poce"]  # changing the rule changes every published number


def test_too_many_words_names_the_limit_and_the_mend() -> None:
    there = len(list(stream_pseudo_words(0, 3, 3, "train")))
    assert pseudo_words(there, 0, 3, 3)
    with pytest.raises(
        DataError, match=rf"{there + 1} train words of 3 to 3 letters .* gives {there}: raise max_letters"
    ):
        pseudo_words(there + 1, 0, 3, 3)


@given(st.text(), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_a_larger_validation_fraction_moves_texts_one_way_only(text, one, two) -> None:
    small, large = sorted((one, two))
    if split_by_hash(text, small) == "validation":
        assert split_by_hash(text, large) == "validation"


def test_validation_fraction_is_met() -> None:
    share = Counter(split_by_hash(word, 0.2) for word in islice(stream_pseudo_words(0, 6, 8, "train"), 5_000))
    # these words are in train at one half, so at 0.2 none of them moves
    assert share == {"train": 5_000}
    share = Counter(split_by_hash(f"row {i}", 0.2) for i in range(5_000))
    assert 850 < share["validation"] < 1_150
