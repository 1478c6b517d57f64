"""Where the attack string goes, and which strings survive tokenisation there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from harness.api.problem.placement import allowed_tokens, cut_position, place
from harness.api.task import Chunk, Edit, Example
from harness.api.threat import Threat
from tests.engine.toy import toy_examples, toy_tokenizer

TOKENIZER = toy_tokenizer()
ALLOWED = allowed_tokens(TOKENIZER)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)


def example_of(text, edit=Edit.PERTURBABLE):
    return Example("e", (Chunk("Say it: "), Chunk(text, edit), Chunk("\n\nAnswer:")), 0, 1)


@given(TEXTS, st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_the_prompt_around_the_string_is_the_clean_prompt(text, fraction):
    problem = place(example_of(text), Threat(position=fraction, tokens=3), TOKENIZER, ALLOWED)
    assert problem.before_text + problem.after_text == problem.example.text
    assert TOKENIZER.decode([problem.before.tolist()])[0] == problem.before_text


@pytest.mark.parametrize(("name", "tokens"), [("prefix", 0), ("infix", 9), ("suffix", 10), (0.5, 5)])
def test_positions_are_measured_in_tokens(name, tokens):
    text = " fox" * 10
    assert len(TOKENIZER.encode([text])[0]) == 10
    assert cut_position(text, Threat(position=name).fraction, TOKENIZER) == 4 * tokens


def test_a_cut_never_parts_a_character():
    text = "日本語"  # three bytes, and in this tokenizer three tokens, per character
    cuts = {cut_position(text, i / 20, TOKENIZER) for i in range(21)}
    assert cuts == {0, 1, 2, 3}


def test_an_overwritable_chunk_is_replaced():
    problem = place(example_of("old text", Edit.OVERWRITABLE), Threat(tokens=3), TOKENIZER, ALLOWED)
    assert problem.prompt("NEW") == "Say it: NEW\n\nAnswer:"


def test_the_threat_model_may_ask_for_insertion_or_replacement():
    overwritable, perturbable = example_of("old text", Edit.OVERWRITABLE), example_of("old text")
    inserted = place(overwritable, Threat(tokens=3, edit="insert", position="prefix"), TOKENIZER, ALLOWED)
    replaced = place(perturbable, Threat(tokens=3, edit="replace"), TOKENIZER, ALLOWED)
    assert inserted.prompt("NEW ") == "Say it: NEW old text\n\nAnswer:"
    assert replaced.prompt("NEW") == "Say it: NEW\n\nAnswer:"


def test_the_alphabet_can_be_printable_ascii():
    ids = allowed_tokens(TOKENIZER, Threat(alphabet="printable_ascii"))
    texts = TOKENIZER.decode([[i] for i in ids])
    assert 95 <= len(ids) < len(ALLOWED)
    assert all(text.isascii() and text.isprintable() and text for text in texts)
    left_out = TOKENIZER.decode([[i] for i in np.setdiff1d(ALLOWED, ids)])
    assert not any(text.isascii() and text.isprintable() and text for text in left_out)


def test_a_label_tells_what_differs_from_the_usual():
    assert Threat().label() == "suffix, 10 tokens, gradient"
    said = Threat(edit="replace", alphabet="printable_ascii", queries=500, flops=1e12).label()
    assert said == "suffix, 10 tokens, gradient, replace, printable ascii, 500 queries, 1e+12 FLOPs"


@given(st.lists(st.lists(st.sampled_from(ALLOWED.tolist()), min_size=4, max_size=4), min_size=1, max_size=8))
@settings(max_examples=100, deadline=None)
def test_survival_is_what_tokenising_the_whole_prompt_says(rows):
    problem = place(toy_examples()[0], Threat(tokens=4), TOKENIZER, ALLOWED)
    for row, text in zip(rows, problem.attack_texts(np.asarray(rows)), strict=True):
        if text is not None:
            assert TOKENIZER.encode([problem.prompt(text)])[0] == [
                *problem.before.tolist(),
                *row,
                *problem.after.tolist(),
            ]
        else:
            joined = TOKENIZER.decode([[*problem.before.tolist(), *row, *problem.after.tolist()]])[0]
            assert TOKENIZER.encode([joined])[0] != [*problem.before.tolist(), *row, *problem.after.tolist()]


def test_draws_are_of_the_asked_number_and_all_survive():
    problem = place(toy_examples()[0], Threat(tokens=4), TOKENIZER, ALLOWED)
    rows = problem.random_tokens(np.random.default_rng(0), 50)
    assert rows.shape == (50, 4)
    assert problem.survives(rows).all()
    assert not set(rows.ravel().tolist()) & TOKENIZER.special


def test_when_nothing_survives_the_draw_ends():
    problem = place(toy_examples()[0], Threat(tokens=4), TOKENIZER, ALLOWED)
    letters = np.asarray([TOKENIZER.encode([c])[0][0] for c in "brow"])  # merges into fewer tokens
    calls = []

    def propose(n):
        calls.append(n)
        return np.tile(letters, (n, 1))

    assert problem.refill(5, propose).shape == (0, 4)
    assert len(calls) == 8
