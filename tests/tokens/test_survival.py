"""Which strings survive tokenisation in their place, for tokenizers of every kind, against brute force."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from harness.api.problem.placement import allowed_tokens, place
from harness.api.problem.problem import Problem
from harness.api.task import Chunk, Edit, Example
from harness.api.threat import Threat
from harness.tokens.hf_tokenizer import HFTokenizer
from harness.tokens.special_tokens import EVERYWHERE
from harness.tokens.tokenizer import Tokens
from tests.engine.hub_models import byte_bpe
from tests.tokens.kinds import PYTHIA, SENTENCES, tokenizer_of

KINDS = [
    *("plain", "llama3", "nfc", *SENTENCES, "prefix_space", "word_piece"),
    pytest.param("pythia", marks=pytest.mark.skipif(not PYTHIA.exists(), reason="no file")),
]
PIECES = [
    *(" fox", " the", "The", "er", "ox", "s", "ing", "Answer", ":", ".", ",", "\n", " ", "  ", "A", "1", "23", "▁"),
    *("é", "e\u0301", "日本", "ж", "🎉"),
]
TEXTS = st.lists(st.sampled_from(PIECES) | st.characters(codec="utf-8"), max_size=4).map("".join)
POSITIONS = st.sampled_from(["prefix", "infix", "suffix"])
EDITS = st.sampled_from(["insert", "replace"])


allowed_by = cache(allowed_tokens)


@st.composite
def problems(draw: st.DrawFn, tokenizer: HFTokenizer, width: int) -> Problem:
    """Odd texts around the string, which may be the first or the last of the prompt."""
    chunks = (Chunk(draw(TEXTS)), Chunk(draw(TEXTS), Edit.PERTURBABLE), Chunk(draw(TEXTS)))
    threat = Threat(tokens=max(1, width), position=draw(POSITIONS), edit=draw(EDITS))
    return place(Example("e", chunks, 0, 1), threat, tokenizer, allowed_by(tokenizer))


def row_of(problem: Problem, string: list[int]) -> list[int]:
    """The prompt in tokens, without the model's special ids."""
    left, right = len(problem.tokenizer.left), len(problem.tokenizer.right)
    return [*problem.before[left:].tolist(), *string, *problem.after[: len(problem.after) - right].tolist()]


def untold(problem: Problem, string: list[int]) -> bool:
    """Whether the decoder loses what the string is found by: the second space at the beginning of a prompt, or where an
    unknown word ends.
    """
    (text,) = problem.tokenizer.decode([row_of(problem, string)])
    loses_space = problem.tokenizer.encode(["a", " a"])[0] == problem.tokenizer.encode(["a", " a"])[1]
    at_start = loses_space and not problem.before_text and not text[:1].strip()
    return at_start or "[UNK]" in text


def some_text_does(problem: Problem, string: list[int]) -> bool:
    """Whether any part of the decoded prompt, put in the string's place, is tokenised to it."""
    row = row_of(problem, string)
    (whole,) = problem.tokenizer.decode([row])
    parts = {whole[i:j] for i in range(len(whole) + 1) for j in range(i, len(whole) + 1)}
    return row in problem.tokenizer.encode([problem.before_text + part + problem.after_text for part in parts])


@pytest.mark.parametrize("kind", KINDS)
def test_a_string_survives_if_there_is_a_text_that_is_tokenised_to_it(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    settled = [0, 0]

    @given(st.data(), st.integers(1, 3))
    @settings(max_examples=40, deadline=None)
    def law(data: st.DataObject, width: int) -> None:
        problem = data.draw(problems(tokenizer, width))
        ids = tokenizer.encode(data.draw(st.lists(TEXTS, max_size=3)))
        strings = [row[i : i + width] for row in ids for i in range(len(row) - width + 1)][:4]
        strings.append(data.draw(st.lists(st.sampled_from(problem.allowed.tolist()), min_size=width, max_size=width)))
        rows = np.asarray([s for s in strings if not set(s) & tokenizer.special], dtype=np.int64).reshape(-1, width)
        expected = [some_text_does(problem, string) for string in rows.tolist()]
        texts = problem.attack_texts(rows)
        assert problem.survives(rows).tolist() == [text is not None for text in texts]
        for string, text, alive in zip(rows.tolist(), texts, expected, strict=True):
            assert (text is not None) == alive or (alive and untold(problem, string))
            if text is not None:
                assert tokenizer.encode([problem.prompt(text)])[0] == row_of(problem, string)
                assert problem.prompts(np.asarray([string])) == [problem.prompt(text)]
            settled[text is not None] += 1

    law()
    assert min(settled) > 2  # both answers were put to the test


def test_a_space_that_a_decoder_puts_before_some_of_what_follows_is_the_strings_own() -> None:
    """Before a colon WordPiece's decoder has a space that no text had, and before a word one that a text must have."""
    tokenizer = tokenizer_of("word_piece")
    for after, text in (("0", "fox "), ("0Answer", "fox "), (" 0", "fox"), (":", "fox")):
        chunks = (Chunk(""), Chunk("", Edit.OVERWRITABLE), Chunk(after))
        problem = place(Example("e", chunks, 0, 1), Threat(tokens=1), tokenizer, allowed_by(tokenizer))
        string = np.asarray(tokenizer.encode(["fox"]))
        assert problem.attack_texts(string) == [text]
        assert problem.prompts(string) == [text + after]


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_typed_survives_unless_it_merges_with_its_neighbours(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    alive = []

    @given(st.data(), TEXTS)
    @settings(max_examples=300, deadline=None)
    def law(data: st.DataObject, typed: str) -> None:
        problem = data.draw(problems(tokenizer, 4))
        tokens = problem.tokens_of(typed)
        if tokens is None or len(tokens) == 0 or set(tokens.tolist()) & tokenizer.special:
            return
        if untold(problem, tokens.tolist()):
            return
        (text,) = problem.attack_texts(tokens[None])
        assert text is not None
        assert tokenizer.encode([problem.prompt(text)]) == tokenizer.encode([problem.prompt(typed)])
        alive.append(text == typed)

    law()
    assert len(alive) > 5
    assert any(alive)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["Say it:", " Say it:", ""])
@pytest.mark.parametrize("after", ["\n\nAnswer:", " Answer:", ""])
def test_random_strings_are_found_whatever_stands_around_them(kind: str, text: str, after: str) -> None:
    tokenizer = tokenizer_of(kind)
    chunks = (Chunk(text), Chunk("", Edit.OVERWRITABLE), Chunk(after))
    problem = place(Example("e", chunks, 0, 1), Threat(tokens=2), tokenizer, allowed_tokens(tokenizer))
    rows = problem.random_tokens(np.random.default_rng(0), 20)
    assert len(rows) == 20
    for row, own in zip(rows.tolist(), problem.attack_texts(rows), strict=True):
        assert own is not None
        assert tokenizer.encode([text + own + after])[0] == row_of(problem, row)


def problem_of(kind: str, text: str = "Say it:", tokens: int = 1) -> Problem:
    tokenizer = tokenizer_of(kind)
    chunks = (Chunk(text), Chunk("", Edit.OVERWRITABLE), Chunk("\n\nAnswer:"))
    return place(Example("e", chunks, 0, 1), Threat(tokens=tokens), tokenizer, allowed_tokens(tokenizer))


def ids_of(kind: str, *tokens: str) -> Tokens:
    return np.asarray([tokenizer_of(kind)._rust.token_to_id(token) for token in tokens])


def test_the_space_before_a_text_belongs_to_the_first_string_of_a_prompt() -> None:
    for kind in SENTENCES:
        rows = ids_of(kind, "▁f", "f")[:, None]
        assert problem_of(kind).attack_texts(rows) == [" f", "f"]
        assert problem_of(kind, "").attack_texts(rows) == ["f", None]  # no text begins without the space


def test_capitals_before_the_string_stay_though_the_tokenizer_drops_them() -> None:
    problem = problem_of("word_piece")
    rows = ids_of("word_piece", "fox")[:, None]
    assert problem.prompts(rows) == ["Say it:fox\n\nAnswer:"]  # as good as a space before it
    assert problem.survives(rows).tolist() == [True]


@pytest.mark.parametrize("kind", ["sentencepiece", "first", "unigram_bytes"])
def test_bytes_survive_where_their_character_has_no_token(kind: str) -> None:
    tokenizer, problem = tokenizer_of(kind), problem_of(kind)
    letter, colon, line_end, tab, part = ids_of(kind, "<0x41>", "<0x3A>", "<0x0A>", "<0x07>", "<0xD0>")
    assert tokenizer.decode([[letter], [line_end]]) == ["A", "\n"]
    assert {letter, colon, line_end, tab} <= set(problem.allowed.tolist())
    assert part not in problem.allowed  # a fragment
    assert problem.attack_texts(np.asarray([[letter], [colon]])) == [None, None]  # "A" is a token of its own
    assert problem.attack_texts(np.asarray([[tab]])) == ["\a"]
    assert problem.survives(np.asarray([[line_end]]))[0] == (kind == "first")
    two = tokenizer.encode([":ж:"])[0][-3:-1]
    assert problem_of(kind, tokens=2).attack_texts(np.asarray([two])) == ["ж"]
    assert problem_of(kind, tokens=2).survives(np.asarray([two[::-1]])).tolist() == [False]


@pytest.mark.parametrize("kind", SENTENCES)
def test_the_alphabet_is_that_of_texts_in_their_place(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    ids = allowed_tokens(tokenizer, Threat(alphabet="printable_ascii"))
    assert set(ids_of(kind, "▁", "▁f", "er").tolist()) <= set(ids.tolist())
    assert not set(ids_of(kind, "é", "日").tolist()) & set(ids.tolist())
    if kind in ("sentencepiece", "first", "unigram_bytes"):
        assert not set(ids_of(kind, "<0x0A>", "<0x07>", "<0xD0>").tolist()) & set(ids.tolist())
    (start,) = tokenizer.encode([":"])
    begun, *whole = tokenizer.decode([start, *([*start, int(i)] for i in ids)])
    texts = [text.removeprefix(begun) for text in whole]
    assert all(text.isascii() and text.isprintable() and text for text in texts)
    assert " " in texts


def test_a_prompt_may_begin_with_its_own_special_token() -> None:
    """It stands in the row once, and strings survive as in the prompt without it, checked the fast way."""
    tokenizer = HFTokenizer(byte_bpe(bos=True), parts=EVERYWHERE)
    allowed = allowed_tokens(tokenizer)
    chunks = Chunk("Is the fox quick? "), Chunk("", Edit.OVERWRITABLE), Chunk(" Answer:")
    plain = place(Example("e", chunks, 0, 1), Threat(tokens=3), tokenizer, allowed)
    marked = (Chunk("<|endoftext|>" + chunks[0].text), *chunks[1:])
    written = place(Example("e", marked, 0, 1), Threat(tokens=3), tokenizer, allowed)
    assert written.before.tolist() == plain.before.tolist()
    assert written.before.tolist().count(0) == 1
    rows = np.random.default_rng(0).choice(allowed, size=(200, 3))
    assert 0 < written.survives(rows).sum() < 200
    np.testing.assert_array_equal(written.survives(rows), plain.survives(rows))
    assert written._place._margins is not None
    for text in (text for text in written.attack_texts(rows) if text is not None):
        assert [0, *tokenizer.encode([written.prompt(text)])[0]] == [
            *written.before,
            *written.tokens_of(text),  # type: ignore[misc]
            *written.after,
        ]
