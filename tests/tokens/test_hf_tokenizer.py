"""The Rust tokenizer behind the protocol: nothing added, cut, cleaned up or hidden."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings, strategies as st
from tokenizers import processors

from harness.errors import VictimError
from harness.tokens.hf_tokenizer import HFTokenizer
from harness.tokens.special_tokens import EVERYWHERE, FixedParts
from harness.tokens.tokenizer import Tokenizer
from tests.engine.hub_models import byte_bpe, fast_tokenizer, word_piece, write_folder

BPE = HFTokenizer(byte_bpe())


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60))
@settings(max_examples=80, deadline=None)
def test_byte_level_text_survives(text: str) -> None:
    ids = BPE.encode([text])[0]
    assert BPE.decode([ids]) == [text]
    spans = BPE.spans(text)
    assert len(spans) == len(ids)
    covered = set().union(*(range(start, end) for start, end in spans)) if spans else set()
    assert covered == set(range(len(text)))  # leading white space belongs to its token


def test_is_a_tokenizer_and_takes_arrays() -> None:
    assert isinstance(BPE, Tokenizer)
    ids = np.asarray(BPE.encode(["the quick"])[0])
    assert BPE.decode(np.stack([ids, ids])) == ["the quick"] * 2  # type: ignore[arg-type]
    assert BPE.encode([]) == []
    assert BPE.encode([""]) == [[]]


def test_special_ids() -> None:
    rust = byte_bpe()
    size = rust.get_vocab_size()
    tokenizer = HFTokenizer(rust, rows=size + 5)
    assert tokenizer.vocabulary == size + 5
    assert {rust.token_to_id("<|endoftext|>"), rust.token_to_id("<tool>")} <= tokenizer.special
    assert rust.token_to_id("        ") not in tokenizer.special  # a run of spaces is text
    assert set(range(size, size + 5)) <= tokenizer.special
    assert HFTokenizer(rust, rows=size - 3).vocabulary == size - 3
    assert (tokenizer.left, tokenizer.right) == ((), ())


def test_holes_in_the_vocabulary_are_special() -> None:
    rust = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 4}, unk_token="a"))
    assert HFTokenizer(rust).special == {1, 2, 3}
    assert HFTokenizer(rust).vocabulary == 5


def test_what_stands_around_a_prompt() -> None:
    rust = word_piece()
    bert = HFTokenizer(rust)
    assert bert.left == (rust.token_to_id("[CLS]"),)
    assert bert.right == (rust.token_to_id("[SEP]"),)
    assert not set(bert.encode(["the fox"])[0]) & bert.special
    assert HFTokenizer(byte_bpe(bos=True)).left == (0,)
    assert HFTokenizer(byte_bpe(bos=True)).right == ()


def ending(*, bos: bool = False) -> tokenizers.Tokenizer:
    """Ends every text with its special token, as some language models' tokenizers do."""
    rust = byte_bpe()
    single = "<|endoftext|> $A <|endoftext|>" if bos else "$A <|endoftext|>"
    rust.post_processor = processors.TemplateProcessing(single=single, special_tokens=[("<|endoftext|>", 0)])
    return rust


@pytest.mark.parametrize("text", ["The fox", " The fox", "", "the <|endoftext|> fox", "fox <|endoftext|>"])
def test_a_prompt_that_begins_with_the_special_token_has_it_once(text: str) -> None:
    tokenizer = HFTokenizer(byte_bpe(bos=True), parts=EVERYWHERE)
    assert tokenizer.left == (0,)
    plain, written = tokenizer.encode([text, "<|endoftext|>" + text])
    assert written == plain
    assert tokenizer.bare("<|endoftext|>" + text) == tokenizer.bare(text) == text
    without = HFTokenizer(byte_bpe(), parts=EVERYWHERE)
    assert without.encode(["<|endoftext|>fox"])[0][0] == 0, "where nothing is put before a prompt, it keeps its own"


def test_instructions_that_begin_with_the_special_token_have_it_once_and_data_keep_it_as_text() -> None:
    prefix = "<|endoftext|>Sort this.\n"
    tokenizer = HFTokenizer(byte_bpe(bos=True), parts=FixedParts(prefix=prefix))
    plain = HFTokenizer(byte_bpe(bos=True))
    assert tokenizer.encode([prefix + "The fox"]) == plain.encode(["Sort this.\nThe fox"])
    assert tokenizer.bare(prefix + "The fox") == "Sort this.\nThe fox"
    data = "<|endoftext|>The fox"
    assert tokenizer.bare(data) == data
    (ids,) = tokenizer.encode([data])
    assert 0 not in ids
    assert tokenizer.decode([ids]) == [data]


def test_the_special_token_of_a_wordpiece_prompt_stands_once() -> None:
    bert = HFTokenizer(word_piece(), parts=EVERYWHERE)
    assert bert.encode(["[CLS] the fox"]) == bert.encode(["the fox"])


@pytest.mark.parametrize("bos", [False, True])
def test_nothing_is_put_behind_a_prompt_that_is_to_be_answered(bos: bool) -> None:
    tokenizer = HFTokenizer(ending(bos=bos))
    assert (tokenizer.left, tokenizer.right, tokenizer.appended) == ((0,) * bos, (0,), (0,))
    answered = tokenizer.open_ended()
    assert (answered.left, answered.right, answered.appended) == ((0,) * bos, (), (0,))
    assert tokenizer.right == (0,), "a classifier's prompts keep it"
    assert HFTokenizer(byte_bpe()).open_ended().right == ()


def test_nothing_is_cleaned_up_cut_or_padded() -> None:
    rust = word_piece()
    rust.enable_truncation(2)
    rust.enable_padding(length=9)
    tokenizer = HFTokenizer(rust)
    ids = tokenizer.encode(["the quick fox . dog"])[0]
    assert tokenizer.decode([ids]) == ["the quick fox . dog"]  # clean-up would close up " ."
    assert rust.truncation is not None  # the given tokenizer is left as it was


def test_from_transformers_and_from_a_folder_agree(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, "gpt_neox")
    ours = HFTokenizer.from_transformers(fast_tokenizer("gpt_neox"), rows=HFTokenizer.from_folder(folder).vocabulary)
    again = HFTokenizer.from_folder(folder)
    assert (ours.vocabulary, ours.special, ours.left) == (again.vocabulary, again.special, again.left)
    assert ours.encode(["User password: pear"]) == again.encode(["User password: pear"])


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(VictimError, match="no such file"):
        HFTokenizer.from_folder(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(VictimError, match=r"not a tokenizer\.json"):
        HFTokenizer.from_folder(tmp_path)
    with pytest.raises(VictimError, match="Rust"):
        HFTokenizer.from_transformers(object())


def test_imports_no_torch() -> None:
    code = "import harness.tokens.hf_tokenizer, sys; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
