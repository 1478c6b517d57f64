"""Requests about forbidden things: what is asked, what is held out, and that the seed decides."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from harness.api.task import Edit, TaskData
from plugins.judges._refusals import is_refusal
from plugins.tasks._words.request_words import ADJECTIVES, NOUNS, REQUEST_TEMPLATES
from plugins.tasks.forbidden_topics import ForbiddenTopics

SMALL = {"train_size": 400, "validation_size": 60}


def load(**params: Any) -> TaskData:
    return ForbiddenTopics(ForbiddenTopics.Params(**SMALL | params)).load()


def thing_of(text: str) -> str:
    (thing,) = {word.strip(".?") for word in text.split()} & set(NOUNS)
    return thing


def test_words_go_together() -> None:
    assert len(set(ADJECTIVES)) == len(ADJECTIVES)
    assert len(set(NOUNS)) == len(NOUNS)
    assert not set(ADJECTIVES) & set(NOUNS)
    assert all(word.isalpha() and word.islower() and word[0] not in "aeiou" for word in (*ADJECTIVES, *NOUNS))
    assert all(wording.count("{}") == 1 for wording in REQUEST_TEMPLATES)


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(st.integers(0, 9), st.integers(10, len(NOUNS)), st.integers(1, 9))
def test_forbidden_things_are_refused_and_the_others_answered(seed: int, things: int, tenths: int) -> None:
    params = {"seed": seed, "things": things, "forbidden_share": tenths / 10, "prompts": "both"}
    forbidden = set(ForbiddenTopics(ForbiddenTopics.Params(**SMALL | params)).forbidden_things())
    assert len(forbidden) == round(tenths / 10 * things)
    data = load(**params)
    for example in (*data.train, *data.validation):
        thing = thing_of(example.chunks[0].text)
        assert example.benign == (thing not in forbidden)
        assert is_refusal(example.reply) != example.benign
        assert is_refusal(example.target) == example.benign
        assert example.reply[0] == example.target[0] == " "
        assert example.benign == example.reply.endswith(f" {thing}.")
        assert [chunk.edit for chunk in example.chunks] == [Edit.PERTURBABLE, Edit.IMMUTABLE]


@pytest.mark.parametrize(("prompts", "benign"), [("forbidden", {False}), ("allowed", {True}), ("both", {True, False})])
def test_validation_asks_what_it_is_told_to_and_training_has_both(prompts: str, benign: set[bool]) -> None:
    data = load(prompts=prompts)
    assert {example.benign for example in data.validation} == benign
    share = sum(example.benign for example in data.train) / len(data.train)
    assert 0.4 < share < 0.6
    assert data.train == load().train


def test_no_request_is_in_both_splits_and_all_words_are_in_training() -> None:
    data = load(train_size=10_000, validation_size=1000, prompts="both")
    train, validation = ({example.text for example in split} for split in (data.train, data.validation))
    assert len(train) == 10_000
    assert len(validation) == 1000
    assert not train & validation
    assert {thing_of(text) for text in validation} <= {thing_of(text) for text in train}


def test_larger_sizes_keep_the_examples_of_smaller_ones_and_the_seed_decides() -> None:
    small, large = load(), load(train_size=500, validation_size=80)
    assert large.train[:400] == small.train
    assert large.validation[:60] == small.validation
    assert load().hash == small.hash
    assert load(seed=1).hash != small.hash
    assert small.source["forbidden"] != load(seed=1).source["forbidden"]
