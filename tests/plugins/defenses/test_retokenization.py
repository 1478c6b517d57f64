"""The same text in other tokens: right for byte-level BPE, whatever bytes it is made of."""

from __future__ import annotations

import numpy as np
import pytest
import tokenizers
from hypothesis import given, strategies as st
from tokenizers import models

from harness.api.runtime_defense import FitJob
from harness.api.task import TaskData
from harness.errors import VictimError
from harness.tokens.hf_tokenizer import HFTokenizer
from harness.tokens.special_tokens import EVERYWHERE, FixedParts
from plugins.defenses._dropout_bpe import DropoutBPE
from plugins.defenses.retokenization import Retokenization
from tests.engine.toy import ToyBackend, toy_examples, toy_tokenizer

TOKENIZER = toy_tokenizer()
OWN = DropoutBPE.of(TOKENIZER.to_json())
TEXTS = st.text(max_size=40) | st.sampled_from(["The brown fox jumps.", "naïve café — 日本 🙂\n\tx", " "])


@given(TEXTS)
def test_without_dropout_the_victims_own_tokens_come_out(text: str) -> None:
    assert OWN.encode(text, 0.0, np.random.default_rng(0)) == TOKENIZER.encode([text])[0]


@given(TEXTS, st.floats(0.05, 1.0), st.integers(0, 5))
def test_with_dropout_the_tokens_spell_the_same_text(text: str, dropout: float, seed: int) -> None:
    ids = OWN.encode(text, dropout, np.random.default_rng(seed))
    assert TOKENIZER.decode([ids]) == [text]
    assert len(ids) >= len(TOKENIZER.encode([text])[0]) or dropout < 1


def test_more_dropout_gives_more_tokens_and_all_of_it_gives_bytes() -> None:
    text = "The brown fox jumps over the river."
    lengths = [
        np.mean([len(OWN.encode(text, p, np.random.default_rng(i))) for i in range(20)]) for p in (0.0, 0.3, 0.8)
    ]
    assert lengths[0] < lengths[1] < lengths[2]
    assert len(OWN.encode("né", 1.0, np.random.default_rng(0))) == len("né".encode())


@pytest.mark.parametrize("parts", [FixedParts("a<pad>"), EVERYWHERE, FixedParts()])
def test_special_tokens_stay_whole_where_they_count(parts: FixedParts) -> None:
    tokenizer = HFTokenizer(tokenizers.Tokenizer.from_str(TOKENIZER.to_json()), parts=parts)
    bpe, text, rng = DropoutBPE.of(tokenizer.reader_json), "a<pad>b <pad>", np.random.default_rng(0)
    assert bpe.encode(tokenizer.spelled(text), 0.0, rng) == tokenizer.encode([text])[0]
    pad = tokenizers.Tokenizer.from_str(tokenizer.to_json()).token_to_id("<pad>")
    whole = bpe.encode(tokenizer.spelled(text), 1.0, rng).count(pad)
    assert whole == (2 if parts.everywhere else 1 if parts.prefix else 0)


def test_a_tokenizer_that_is_no_bpe_is_refused() -> None:
    rust = tokenizers.Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    with pytest.raises(VictimError, match="WordLevel, not BPE"):
        DropoutBPE(HFTokenizer(rust).to_json())


def test_the_fit_checks_the_victims_tokenizer() -> None:
    data = TaskData((" A", " B"), toy_examples(5), toy_examples(5))
    job = FitJob(data, 0, ToyBackend(), np.random.default_rng(0))
    assert Retokenization().fit(job) == {"checked": 5}
