"""Small tokenizers of the kinds that models come with, some of them awkward, trained on a few sentences."""

from __future__ import annotations

import string
from functools import cache

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from harness.testing.toys.backend import SENTENCES, toy_tokenizer
from harness.tokens.chat_format import ChatFormat
from harness.tokens.chat_template import ChatTemplate
from harness.tokens.hf_tokenizer import HFTokenizer

TOKENIZER_KINDS = ("byte_bpe", "word_piece", "sentence_piece")
CHAT = ChatFormat(ChatTemplate("{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}\n{% endfor %}<|assistant|>\n"))
_CORPUS = [*SENTENCES, "Answer: FIRST or SECOND", "it's 1234 a.b,c/d\n\n e_f", "café", string.printable] * 2


@cache
def tokenizer_of(kind: str) -> HFTokenizer:
    """A small tokenizer.

    Args:
        kind: ``byte_bpe`` as GPT's; ``word_piece`` as BERT's, which turns capitals into small letters and puts special
            tokens around a prompt; ``sentence_piece`` as Llama's, which puts a space before every text.
    """
    if kind == "byte_bpe":
        return toy_tokenizer()
    return HFTokenizer(_word_piece() if kind == "word_piece" else _sentence_piece())


def _word_piece() -> tokenizers.Tokenizer:
    rust = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    rust.normalizer = normalizers.BertNormalizer(lowercase=True)
    rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    rust.decoder = decoders.WordPiece(cleanup=False)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    rust.train_from_iterator(_CORPUS, trainer)
    ids = [(name, rust.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    rust.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ids)
    return rust


def _sentence_piece() -> tokenizers.Tokenizer:
    rust = tokenizers.Tokenizer(models.BPE(unk_token="<unk>"))
    rust.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    rust.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]  # the first space is its own
    )
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>"], show_progress=False)
    rust.train_from_iterator([text.strip() for text in _CORPUS], trainer)
    return rust
