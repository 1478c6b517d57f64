"""The first string of GCG: random, or a text that fills the token budget and survives tokenisation in its place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from harness.api.problem.group import Group
from harness.api.problem.placement import allowed_tokens, place
from harness.api.problem.problem import Problem
from harness.api.threat import Threat
from harness.engine.dry_run import FakeTokenizer
from harness.tokens.hf_tokenizer import HFTokenizer
from plugins.attacks._common.initial_tokens import initial_tokens
from plugins.attacks.gcg import GCG
from tests.engine.toy import toy_examples
from tests.plugins.attacks.same_model import byte_bpe
from tests.plugins.attacks.test_gcg import pretend_problem

TOKENIZER = HFTokenizer(byte_bpe())
PRINTABLE = allowed_tokens(TOKENIZER, Threat(alphabet="printable_ascii"))


def problem(tokens: int = 6) -> Problem:
    """A sentence with room for a string behind it; printable ASCII alone."""
    return place(toy_examples(1)[0], Threat(tokens=tokens), TOKENIZER, PRINTABLE)


def first(initial: str, where: Problem, seed: int = 0) -> np.ndarray:
    return initial_tokens(initial, where, np.random.default_rng(seed))


def text(tokens: np.ndarray) -> str:
    return TOKENIZER.decode([tokens.tolist()])[0]


def test_the_default_is_a_random_string() -> None:
    where = problem()
    drawn = [tuple(first("random", where, seed)) for seed in range(20)]
    assert len(set(drawn)) == 20
    np.testing.assert_array_equal(first("random", where), where.random_tokens(np.random.default_rng(0)))
    assert GCG().params.initial == "random"


@pytest.mark.parametrize(
    ("initial", "filled"),
    [
        ("x ", "x x x x x x"),  # "x", then " x", which is one token
        (" no", " no no no no no no"),
        ("!", "!!!!!!"),
        ("! ", "! ! ! "),  # here a space before "!" is a token of its own
        ("yes and no", "yes and noyes and no"),
        ("one word and no more for you", "one word and no more for"),  # long enough: cut, not repeated
    ],
)
def test_a_text_fills_the_budget(initial: str, filled: str) -> None:
    where = problem()
    tokens = first(initial, where)
    assert text(tokens) == filled
    assert len(tokens) == 6
    assert where.survives(tokens[None])[0]
    np.testing.assert_array_equal(tokens, first(initial, where, seed=1))  # nothing random in it


def test_the_string_may_begin_within_the_text_where_its_beginning_merges_with_the_prompt() -> None:
    where = problem()
    before = where.before_text + "ye"
    where = replace(where, before_text=before, before=np.asarray(TOKENIZER.encode([before])[0]))
    tokens = first("s ", where)  # "yes" is one token
    assert text(tokens) == " s s s s s s"
    assert where.survives(tokens[None])[0]


def test_what_cannot_stay_is_replaced_by_random_tokens() -> None:
    where = problem()
    some = [text(first("yes é", where, seed)) for seed in range(10)]
    assert all(s.startswith("yes") for s in some)
    assert len(set(some)) == 10
    none = [text(first("é yes", where, seed)) for seed in range(10)]  # what could be kept stands behind what cannot
    assert len(set(none)) == 10
    for tokens in (first("yes é", where), first("é", where)):
        assert np.isin(tokens, where.allowed).all()
        assert where.survives(tokens[None])[0]


@given(st.text(min_size=1, max_size=12), st.integers(1, 9), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_any_text_gives_an_allowed_string_of_full_length_that_survives(initial: str, size: int, seed: int) -> None:
    where = problem(size)
    tokens = first(initial, where, seed)
    assert tokens.shape == (size,)
    assert tokens.dtype == np.int64
    assert np.isin(tokens, where.allowed).all()
    assert where.survives(tokens[None])[0]


def test_a_universal_string_survives_in_every_prompt() -> None:
    examples = toy_examples(2)
    one, other = (place(example, Threat(tokens=6), TOKENIZER, PRINTABLE) for example in examples)
    before = other.before_text + " !"
    other = replace(other, before_text=before, before=np.asarray(TOKENIZER.encode([before])[0]))
    tokens = first("! ", Group.of([one, other]))
    assert one.survives(tokens[None])[0]
    assert other.survives(tokens[None])[0]


def test_a_victim_without_such_tokens_begins_at_random() -> None:
    assert isinstance(pretend_problem().tokenizer, FakeTokenizer)
    assert first("! ", pretend_problem()).shape == (4,)
