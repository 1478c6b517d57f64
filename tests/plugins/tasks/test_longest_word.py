"""LongestWord: right labels at every setting, balance, no leak, and no shorter way to the label."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings, strategies as st
from pydantic import ValidationError

from harness.api.task import Edit, Example, TaskData
from harness.errors import DataError
from plugins.tasks import longest_word
from plugins.tasks._data.splits import split_by_hash
from plugins.tasks.longest_word import LongestWord

lengths = st.tuples(st.integers(3, 12), st.integers(3, 12)).map(sorted).filter(lambda pair: pair[0] < pair[1])


def load(vocabulary: int = 500, **params: Any) -> TaskData:
    with patch.object(longest_word, "VOCABULARY", vocabulary):  # the full one takes a good part of a second each time
        return LongestWord(LongestWord.Params(**params)).load()


def lines(example: Example) -> list[str]:
    return re.findall(r": (.+)\n", example.chunks[1].text)


def given_word(line: str) -> str:
    """The word that a line gives, worked out by Python itself."""
    words = {word: repr(word) for word in re.findall(r"[a-z]+", line)} | {"longest": "max", "longer": "max"}
    words |= {"shorter": "min"}
    text = re.sub(r"[a-z]+", lambda found: words[found[0]], line)
    if text.startswith("'"):
        return str(eval(text, {}))

    def by_length(pick: Any) -> Any:
        return lambda *parts: pick(parts, key=len)

    return str(eval(text, {"max": by_length(max), "min": by_length(min)}))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(0, 3), st.integers(1, 40), st.integers(1, 40), lengths, st.integers(0, 10**6))
def test_laws(words, nesting, train_size, validation_size, bounds, seed) -> None:
    low, high = bounds
    sizes = {"train_size": train_size, "validation_size": validation_size}
    data = load(words=words, nesting=nesting, min_letters=low, max_letters=high, seed=seed, **sizes)
    assert (len(data.train), len(data.validation)) == (train_size, validation_size)
    for split, examples in (("train", data.train), ("validation", data.validation)):
        assert len({example.text for example in examples}) == len(examples)
        count = Counter(example.label for example in examples)
        assert abs(count[0] - count[1]) == len(examples) % 2
        for example in examples:
            first, second = (given_word(line) for line in lines(example))
            assert len(first) != len(second)
            assert example.label == int(len(first) < len(second)) == 1 - example.proxy_label
            used = re.findall(r"[a-z]+", " ".join(lines(example)))
            drawn = [word for word in used if word not in ("longest", "longer", "shorter")]
            assert len(drawn) == 2 * words * 2**nesting
            assert all(low <= len(word) <= high and split_by_hash(word) == split for word in drawn)
            edits = [chunk.edit for chunk in example.chunks]
            assert edits == [Edit.IMMUTABLE, Edit.IMMUTABLE, Edit.OVERWRITABLE, Edit.IMMUTABLE]


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 3), st.integers(0, 2), st.integers(1, 30), st.integers(1, 30))
def test_growing_a_split_keeps_its_first_examples_and_the_other_split(words, nesting, size, more) -> None:
    small = load(words=words, nesting=nesting, train_size=size, validation_size=size)
    large = load(words=words, nesting=nesting, train_size=size + more, validation_size=size + 2 * more)
    assert large.train[:size] == small.train
    assert large.validation[:size] == small.validation


@pytest.mark.parametrize(
    ("dial", "line"),
    [
        ({"words": 1}, r"\w+"),
        ({"words": 3}, r"longest\(\w+, \w+, \w+\)"),
        ({"words": 1, "nesting": 1}, r"shorter\(\w+, \w+\)"),
        ({"words": 2, "nesting": 1}, r"shorter\(longest\(\w+, \w+\), longest\(\w+, \w+\)\)"),
        ({"words": 1, "nesting": 2}, r"longer\(shorter\(\w+, \w+\), shorter\(\w+, \w+\)\)"),
    ],
)
def test_what_a_line_looks_like(dial: dict[str, int], line: str) -> None:
    for example in load(train_size=20, validation_size=2, **dial).train:
        assert all(re.fullmatch(line, one) for one in lines(example))


@pytest.mark.parametrize("dial", [{"words": 4}, {"words": 1, "nesting": 1}, {"words": 2, "nesting": 2}])
def test_one_word_of_a_line_does_not_tell_the_label(dial: dict[str, int]) -> None:
    """The word at one place, compared with its like in the other line, says less than the whole."""
    examples = load(train_size=2_000, validation_size=2, **dial).train
    for place in (0, -1):
        right = 0.0
        for example in examples:
            a, b = (len(re.findall(r"[a-z]+(?=[,)])", line)[place]) for line in lines(example))
            right += 0.5 if a == b else float((a < b) == example.label)
        assert 0.5 < right / len(examples) < 0.85


def test_the_word_given_stands_anywhere_and_every_pair_of_lengths_is_as_frequent() -> None:
    examples = load(train_size=3_000, validation_size=2, words=3, min_letters=4, max_letters=6).train
    listed = [re.findall(r"\w+", line)[1:] for example in examples for line in lines(example)]
    alone = [words for words in listed if sorted(map(len, words))[1] < max(map(len, words))]
    places = Counter(words.index(max(words, key=len)) for words in alone)
    assert all(0.28 < places[place] / len(alone) < 0.38 for place in range(3))
    pairs = Counter(frozenset(len(given_word(line)) for line in lines(example)) for example in examples)
    assert len(pairs) == 3
    assert all(850 < count < 1150 for count in pairs.values())


def test_changing_the_recipe_is_noticed() -> None:
    examples = load(25_000, train_size=3, validation_size=2, words=2, nesting=1).train
    assert [lines(example)[0] for example in examples] == [  # a change makes records incomparable
        "shorter(longest(rimyobe, milrumhaye), longest(zut, sos))",
        "shorter(longest(tata, zitiklise), longest(let, cejudhek))",
        "shorter(longest(moswabni, tipnor), longest(netponda, fevukdar))",
    ]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"min_letters": 4, "max_letters": 4}, "none is longer: raise max_letters"),
        ({"words": 0}, "greater than 0"),
        ({"words": 17}, "less than or equal to 16"),
        ({"nesting": -1}, "greater than or equal to 0"),
        ({"nesting": 5}, "less than or equal to 4"),
        ({"min_letters": 6, "max_letters": 4}, "swap them"),
    ],
)
def test_bad_parameters(params: dict[str, int], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LongestWord.Params(**params)


def test_too_few_words() -> None:
    with pytest.raises(
        DataError, match=r"400 train examples are asked for, and words of 3 to 4 letters give \d+ at mo"
    ):
        load(20, words=1, min_letters=3, max_letters=4, train_size=400, validation_size=4)
    with pytest.raises(DataError, match="give 0 at most"):  # open syllables give words of even length
        load(words=2, min_letters=4, max_letters=5, syllables="open", train_size=4, validation_size=4)
