"""Ids of a text that goes on from another one: none of the space that some tokenizers put before every text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from harness import continuation_ids
from tests.tokens.kinds import CUTTING, PYTHIA, SENTENCES, tokenizer_of

BYTES = [*CUTTING, pytest.param("pythia", marks=pytest.mark.skipif(not PYTHIA.exists(), reason="no file"))]
PIECES = [*"ab /:;)(.'-0123\n\t", "  ", " fox", "fox", " Answer", "://", ":)", "'s", "é", "e\u0301", "日本", "ж", "ſ"]
TEXTS = st.lists(st.sampled_from(PIECES) | st.characters(codec="utf-8"), max_size=8).map("".join)
BEFORE = ("Answer:", "the dog", "(x)", "12", "Say it.", "\n\n", "a b ", "User password: pear")


@pytest.mark.parametrize("kind", [*BYTES, "unknown_pattern", "word_piece"])
def test_where_nothing_is_put_before_a_text_they_are_those_of_the_text_alone(kind: str) -> None:
    tokenizer = tokenizer_of(kind)

    @given(TEXTS)
    @settings(max_examples=150, deadline=None)
    def law(text: str) -> None:
        assert continuation_ids(tokenizer, text) == tuple(tokenizer.encode([text])[0])

    law()


@pytest.mark.parametrize("kind", [*SENTENCES, "prefix_space"])
def test_they_are_those_that_the_text_has_behind_any_text_with_which_it_does_not_merge(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    seen = set()

    @given(TEXTS, st.sampled_from(BEFORE))
    @settings(max_examples=200, deadline=None)
    def law(text: str, before: str) -> None:
        start, whole = tokenizer.encode([before, before + text])
        if text and whole[: len(start)] == start:
            assert continuation_ids(tokenizer, text) == tuple(whole[len(start) :])
            seen.add(continuation_ids(tokenizer, text) == tuple(tokenizer.encode([text])[0]))

    law()
    assert False in seen  # the text alone has other ids


@pytest.mark.parametrize("kind", [*SENTENCES, "prefix_space"])
def test_a_label_is_what_follows_the_prompt(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    for label in (" FIRST", " NEGATIVE", " the dog jumps"):
        ids = continuation_ids(tokenizer, label)
        prompt, whole = tokenizer.encode(["Is it so?\n\nAnswer:", "Is it so?\n\nAnswer:" + label])
        assert (*prompt, *ids) == tuple(whole)
        assert tokenizer.decode([whole])[0].endswith("Answer:" + label)


def test_an_empty_text_has_none() -> None:
    for kind in (*SENTENCES, "plain"):
        assert continuation_ids(tokenizer_of(kind), "") == ()
