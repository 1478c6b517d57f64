"""PasswordMatch and WordLength: right labels, balance, no leak, stable under growth and across processes."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from unittest.mock import patch

import pytest
from hypothesis import given, settings, strategies as st
from pydantic import ValidationError

from harness.api.task import Edit, Example, TaskData
from harness.errors import DataError
from plugins.tasks import word_length
from plugins.tasks._data.splits import split_by_hash
from plugins.tasks._words.pseudo_words import CODAS, ONSETS, VOWELS, changed_word, pseudo_words
from plugins.tasks.password_match import PasswordMatch
from plugins.tasks.word_length import WordLength

TASKS = [PasswordMatch, WordLength]
sizes = st.integers(1, 60)
lengths = st.tuples(st.integers(3, 12), st.integers(3, 12)).map(sorted).filter(lambda pair: pair[0] < pair[1])


def load(task, **params) -> TaskData:
    return task(task.Params(**params)).load()


def load_small(task, **params) -> TaskData:
    with patch.object(word_length, "VOCABULARY", 500):  # the full one takes a good part of a second each time
        return load(task, **params)


def pair(example: Example) -> tuple[str, str]:
    return tuple(re.findall(r": ([a-z]+)\n", example.chunks[1].text))


def right_label(task, example: Example) -> int:
    first, second = pair(example)
    return int(first == second) if task is PasswordMatch else int(len(first) < len(second))


@pytest.mark.parametrize("task", TASKS)
@settings(max_examples=25, deadline=None)
@given(sizes, sizes, lengths, st.integers(0, 10**6))
def test_laws(task, train_size, validation_size, bounds, seed) -> None:
    low, high = bounds
    data = load_small(
        task, train_size=train_size, validation_size=validation_size, min_letters=low, max_letters=high, seed=seed
    )
    assert (len(data.train), len(data.validation)) == (train_size, validation_size)
    assert not {w for e in data.train for w in pair(e)} & {w for e in data.validation for w in pair(e)}
    for split in (data.train, data.validation):
        assert len({example.id for example in split}) == len(split)
        count = Counter(example.label for example in split)
        assert abs(count[0] - count[1]) == len(split) % 2
        for example in split:
            assert example.label == right_label(task, example) == 1 - example.proxy_label
            assert all(low <= len(word) <= high for word in pair(example))
            edits = [chunk.edit for chunk in example.chunks]
            assert edits == [Edit.IMMUTABLE, Edit.IMMUTABLE, Edit.OVERWRITABLE, Edit.IMMUTABLE]
            assert example.chunks[2].text == ""
            assert example.chunks[3].text == "\n\nAnswer:"


@pytest.mark.parametrize("task", TASKS)
@settings(max_examples=10, deadline=None)
@given(sizes, sizes, sizes, sizes)
def test_growing_a_split_keeps_its_first_examples_and_the_other_split(task, train, validation, more, later) -> None:
    small = load_small(task, train_size=train, validation_size=validation, max_letters=5)
    large = load_small(task, train_size=train + more, validation_size=validation + later, max_letters=5)
    assert large.train[:train] == small.train
    assert large.validation[:validation] == small.validation


@pytest.mark.parametrize("balanced", [True, False])
def test_word_length_balance(balanced) -> None:
    data = load(WordLength, train_size=4_000, validation_size=2, balanced=balanced)
    first = sum(example.label == 0 for example in data.train)
    assert (first == 2_000) is balanced
    assert balanced or 2_150 < first < 2_450  # ties count for FIRST
    assert all(example.label == right_label(WordLength, example) for example in data.train)


def test_label_cannot_be_read_off_the_position() -> None:
    for task in TASKS:
        even = [example.label for example in load(task, train_size=2_000, validation_size=2).train[::2]]
        assert 400 < sum(even) < 600


def test_each_pair_has_a_system_password_of_its_own() -> None:
    data = load(PasswordMatch, train_size=600, validation_size=32)
    assert len({pair(example)[0] for example in data.train}) == 600
    assert len({word for example in data.validation for word in pair(example)}) >= 45  # 17 before


def test_no_single_letter_tells_unequal_passwords_apart() -> None:
    unequal = [
        words for e in load(PasswordMatch, validation_size=2, train_size=4_000).train if len({*(words := pair(e))}) == 2
    ]
    assert all(len(system) == len(user) for system, user in unequal)
    differing = [[a != b for a, b in zip(*words, strict=True)] for words in unequal]
    assert all(2 * sum(places) >= len(places) for places in differing)
    assert 0.45 < sum(all(places) for places in differing) / len(differing) < 0.55
    for place in (0, 1, 2, -1):  # whichever it is, about four in five differ there
        share = sum(places[place] for places in differing) / len(differing)
        assert 0.75 < share < 0.88


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(["any", "open"]), st.sampled_from(["train", "validation"]), st.integers(0, 1000))
def test_a_changed_word_is_a_word_of_the_rule_and_of_its_split(syllables, split, seed) -> None:
    (word,) = pseudo_words(1, seed, 4, 8, split, syllables)
    changed = changed_word(word, split, random.Random(seed))
    assert changed != word
    assert len(changed) == len(word)
    assert split_by_hash(changed) == split
    syllable = f"[{ONSETS}][{VOWELS}]" + ("" if syllables == "open" else f"(?:[{CODAS}](?![{VOWELS}]))?")
    assert re.fullmatch(f"(?:{syllable})+", changed)


@pytest.mark.parametrize("task", TASKS)
def test_default_sizes_load_fast_and_fill_both_splits(task) -> None:
    start = time.process_time()
    data = task().load()
    assert time.process_time() - start < 30  # seconds; some 1 is usual, and minutes where each pair looks at all others
    assert len(data.train) == len(data.validation) == 25_000
    assert Counter(example.label for example in data.validation) == {0: 12_500, 1: 12_500}


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_hash_is_the_same_in_every_process(task) -> None:
    code = (
        f"from {task.__module__} import {task.__name__} as T\n"
        "print(T(T.Params(train_size=300, validation_size=100)).load().hash)"
    )
    hashes = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert hashes == {load(task, train_size=300, validation_size=100).hash}


@pytest.mark.parametrize(
    ("task", "pairs"),
    [
        (PasswordMatch, ["lom lom", "tufolica tafalece", "poce poce", "zumaji sanivo"]),
        (WordLength, ["temusohera besju", "veb levan", "yodmume bilujuwufe", "tuvani vune"]),
    ],
)
def test_changing_the_recipe_is_noticed(task, pairs) -> None:
    examples = load(task, train_size=4, validation_size=2).train
    assert [" ".join(pair(example)) for example in examples] == pairs  # a change makes records incomparable


@pytest.mark.parametrize("task", TASKS)
def test_prompt_is_a_parameter(task) -> None:
    example = load(task, train_size=2, validation_size=2, instructions="", answer_prompt=" =>").train[0]
    assert example.text == example.chunks[1].text + " =>"
    assert load(task, train_size=2, validation_size=2, instructions="Hm?\n").train[0].chunks[0].text == "Hm?\n\n"
    assert load(task, train_size=9, validation_size=9).hash != load(task, train_size=9, validation_size=9, seed=1).hash


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"min_letters": 6, "max_letters": 4}, r"min_letters \(6\) is above max_letters \(4\): swap them"),
        ({"min_letters": 2}, "greater than or equal to 3"),
        ({"max_letters": 13}, "less than or equal to 12"),
        ({"train_size": 0}, "greater than 0"),
        ({"trian_size": 9}, "Extra inputs"),
    ],
)
def test_bad_parameters(task, params, message) -> None:
    with pytest.raises(ValidationError, match=message):
        task.Params(**params)


def test_one_length_cannot_be_compared_and_can_run_out() -> None:
    with pytest.raises(ValidationError, match="FIRST is always right: raise max_letters"):
        WordLength.Params(min_letters=4, max_letters=4)
    with pytest.raises(DataError, match="25000 train words of 3 to 3 letters are needed"):
        load(PasswordMatch, max_letters=3)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("seed", range(3))
def test_no_pair_stands_twice_however_few_words_there_are(task, seed: int) -> None:
    few = {"min_letters": 3, "max_letters": 4, "seed": seed, "train_size": 400, "validation_size": 400}
    unbalanced = [{"balanced": False}] if task is WordLength else []
    for more in [{}, *unbalanced]:
        with patch.object(word_length, "VOCABULARY", 60):
            data = load(task, **few, **more)
        for split in (data.train, data.validation):
            assert len({example.text for example in split}) == len(split) == 400


def test_more_pairs_than_the_words_give() -> None:
    with (
        patch.object(word_length, "VOCABULARY", 20),
        pytest.raises(
            DataError, match=r"400 train examples are asked for, and words of 3 to 4 letters give \d+ at most"
        ),
    ):
        load(WordLength, min_letters=3, max_letters=4, train_size=400, validation_size=4)
