"""Where tokenizers cut every text, and that checking rows piece by piece says what checking them whole does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from harness.api.problem.placement import allowed_tokens, place
from harness.api.problem.problem import Problem
from harness.api.task import Chunk, Edit, Example
from harness.api.threat import Threat
from harness.tokens import roundtrip as module
from harness.tokens.hf_tokenizer import HFTokenizer
from harness.tokens.split_points import NON_ASCII
from harness.tokens.tokenizer import SegmentedTokenizer, Tokens
from tests.tokens.kinds import CUTTING, OTHERS, PYTHIA, tokenizer_of

KINDS = [*CUTTING, pytest.param("pythia", marks=pytest.mark.skipif(not PYTHIA.exists(), reason="no file"))]
ODD = [
    *"abzSTDLMRVE 019.,'-_/<|>=\n\r\t\v",
    *("'s", "'re", "'LL", "ſ", "  ", "        ", "\r\n", "\xa0", "\u3000", "\x85", "\x1c", "½", "²", "٣", "ー"),
    *("é", "e\u0301", "\u0301", "=\u0338", "日本", "🎉", "ﬁ", "Å", "a≠b"),
    *("<tool>", "<|endoftext|>", "<|end|>", "<x-1>"),
    *(" the", " word", "Answer", "password", "\ufffd", "\ue0a5\ue0a6", "\ue0a5", "\ue0a6"),
]
TEXTS = st.lists(st.sampled_from(ODD) | st.characters(codec="utf-8"), max_size=16).map("".join)


class Whole:
    """The same tokenizer, of which nothing is known."""

    def __init__(self, inner: HFTokenizer) -> None:
        self.vocabulary, self.special, self.left, self.right = inner.vocabulary, inner.special, inner.left, inner.right
        self.encode, self.decode, self.spans = inner.encode, inner.decode, inner.spans


def pieces_of(kind: str) -> module.SegmentRoundTrip:
    found = tokenizer_of(kind).segments
    assert found is not None
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_halves_of_a_text_tokenise_as_they_do_together(kind: str) -> None:
    tokenizer, table = tokenizer_of(kind), pieces_of(kind)._table.reshape(NON_ASCII + 1, NON_ASCII + 1)
    assert table.any()

    @given(TEXTS)
    @settings(max_examples=150, deadline=None)
    def law(text: str) -> None:
        codes = [min(ord(character), NON_ASCII) for character in text]
        places = [i for i in range(1, len(text)) if table[codes[i - 1], codes[i]]]
        halves = tokenizer.encode([part for i in places for part in (text[:i], text[i:])])
        whole = tokenizer.encode([text])[0]
        for at in range(len(places)):
            assert halves[2 * at] + halves[2 * at + 1] == whole

    law()


@st.composite
def problems(draw: st.DrawFn, kind: str) -> tuple[Problem, Tokens]:
    """A prompt with odd texts around the attack string, and strings of equal length: such as come back and others."""
    tokenizer = tokenizer_of(kind)
    edit = draw(st.sampled_from([Edit.OVERWRITABLE, Edit.PERTURBABLE]))
    chunks = (Chunk(draw(TEXTS)), Chunk(draw(TEXTS), edit), Chunk(draw(TEXTS)))
    width = draw(st.integers(0, 5))
    threat = Threat(tokens=max(1, width), position=draw(st.floats(0, 1)))
    problem = place(Example("e", chunks, 0, 1), threat, tokenizer, np.arange(tokenizer.vocabulary))
    texts = draw(st.lists(TEXTS, max_size=6))
    rows = [row[i : i + width] for row in tokenizer.encode(texts) for i in range(len(row) - width + 1)]
    ids = st.integers(0, tokenizer.vocabulary - 1)
    rows += draw(st.lists(st.lists(ids, min_size=width, max_size=width), max_size=4))
    return problem, np.asarray(rows, dtype=np.int64).reshape(len(rows), width)


def check_equal(problem: Problem, rows: Tokens) -> None:
    whole = replace(problem, tokenizer=Whole(problem.tokenizer))  # type: ignore[arg-type]
    assert not isinstance(whole.tokenizer, SegmentedTokenizer)
    assert problem.attack_texts(rows) == whole.attack_texts(rows)
    assert problem.survives(rows).tolist() == whole.survives(rows).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_verdicts_are_those_of_the_whole_prompt(kind: str) -> None:
    settled = [0, 0]

    @given(problems(kind))
    @settings(max_examples=100, deadline=None)
    def law(drawn: tuple[Problem, Tokens]) -> None:
        check_equal(*drawn)
        for verdict in drawn[0].survives(drawn[1]).tolist():
            settled[verdict] += 1

    law()
    assert min(settled) > 20  # both answers were put to the test


@pytest.mark.parametrize("kind", OTHERS)
def test_nothing_is_claimed_of_other_tokenizers(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    assert tokenizer.segments is None
    example = Example("e", (Chunk("the fox "), Chunk("", Edit.OVERWRITABLE)), 0, 1)
    problem = place(example, Threat(tokens=2), tokenizer, allowed_tokens(tokenizer))
    check_equal(problem, problem.random_tokens(np.random.default_rng(0), 20))


def test_long_prompts_are_not_looked_at_again() -> None:
    tokenizer = tokenizer_of("plain")
    chunks = (Chunk("The fox. " * 200 + "Say"), Chunk("", Edit.OVERWRITABLE), Chunk("\n\nAnswer now: " + "yes " * 200))
    problem = place(Example("e", chunks, 0, 1), Threat(tokens=3), tokenizer, allowed_tokens(tokenizer))
    left, right, _ = problem._place._margins  # type: ignore[misc]
    assert tokenizer.decode([left, right]) == [" Say", "\n\nAnswer"]  # type: ignore[list-item]
    rows = np.asarray(tokenizer.encode([" the fox the", " fox the fox"]))
    assert problem.survives(rows).all()
    check_equal(problem, rows)


def test_a_prompt_that_does_not_come_back_is_checked_whole_and_kept_as_it_is() -> None:
    problem = place(
        Example("e", (Chunk("Cafe\u0301 "), Chunk("", Edit.OVERWRITABLE)), 0, 1),
        Threat(tokens=1),
        tokenizer_of("nfc"),
        allowed_tokens(tokenizer_of("nfc")),
    )
    assert problem._place._margins is None
    rows = np.asarray([[40], [41]])
    letters = problem.attack_texts(rows)
    assert letters == tokenizer_of("nfc").decode(rows)  # type: ignore[arg-type]
    assert problem.prompts(rows) == [f"Cafe\u0301 {letter}" for letter in letters]  # not with the accent on the letter


def test_ids_beyond_the_vocabulary_do_not_come_back() -> None:
    pieces = pieces_of("plain")
    good = tokenizer_of("plain").encode([" fox"])[0][0]
    inside = pieces._break  # in no vocabulary but that of the check itself
    rows = np.asarray([[good, good], [good, inside], [inside, good], [good, inside + 9]])
    assert pieces.stable(rows).tolist() == [True, False, False, False]
    assert pieces.stable(rows[:0]).tolist() == []
    assert pieces.stable(rows[:, :0]).tolist() == [True] * 4


def test_what_is_known_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_KNOWN", 50)
    monkeypatch.setattr(module, "PER_TEXT", 7)
    tokenizer = tokenizer_of("plain")
    pieces = module.SegmentRoundTrip.of(tokenizer._rust)
    assert pieces is not None
    rng = np.random.default_rng(0)
    for _ in range(20):
        rows = rng.choice(allowed_tokens(tokenizer), size=(20, 3))
        assert pieces.stable(rows).tolist() == [
            again == row.tolist() for again, row in zip(tokenizer.encode(tokenizer.decode(rows)), rows, strict=True)
        ]
        assert len(pieces._known) <= 50 + 20 * 3
