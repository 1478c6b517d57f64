"""Small tokenizers of every kind that models come with, trained in the test."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.pre_tokenizers import ByteLevel, Digits, PreTokenizer, Split

from harness.tokens.cuts import PATTERNS
from harness.tokens.hf import HFTokenizer
from tests.engine.hub_models import CORPUS, byte_bpe, word_piece

PYTHIA = Path(__file__).parents[3] / "shared" / "data" / "pythia_tokenizer.json"
GPT2, LLAMA3, QWEN, QWEN35, GPT4O = PATTERNS
TEXT = [
    *CORPUS,
    "it's we're I've I'm you'll he'd IT'S x'S 12 1234 12345 3.14",
    "a.b,c/d\n\n e_f  g\t\th \r\n i",
    "café 日本",
]

CUTTING = ("plain", "added", "nfc", "gpt2", "llama3", "qwen", "qwen35", "gpt4o", "digits", "both")
OTHERS = ("word_piece", "prefix_space", "rstrip", "unknown_pattern", "metaspace", "sentencepiece", "unigram")


def _bytes(pre: PreTokenizer, added: tuple[str | AddedToken, ...] = ()) -> tokenizers.Tokenizer:
    rust = tokenizers.Tokenizer(models.BPE())
    rust.pre_tokenizer = pre
    rust.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=["<|end|>"],
        initial_alphabet=sorted(ByteLevel.alphabet()),
        show_progress=False,
    )
    rust.train_from_iterator(TEXT * 3, trainer)
    rust.add_tokens(list(added))
    return rust


def _split(pattern: str, *, again: bool = False) -> PreTokenizer:
    last = ByteLevel(add_prefix_space=False, use_regex=again)
    return pre_tokenizers.Sequence([Split(Regex(pattern), "isolated"), last])


def _sentences(model: str) -> tokenizers.Tokenizer:
    """Spaces are marks of their own, as in SentencePiece."""
    if model == "unigram":
        rust = tokenizers.Tokenizer(models.Unigram())
        trainer = trainers.UnigramTrainer(
            vocab_size=200, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False
        )
    else:
        rust = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
        fallback = [f"<0x{i:02X}>" for i in range(256)]
        trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=["<unk>", *fallback], show_progress=False)
    rust.pre_tokenizer = pre_tokenizers.Metaspace()
    rust.decoder = decoders.Metaspace()
    if model == "sentencepiece":
        rust.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
    rust.train_from_iterator(TEXT * 3, trainer)
    if model == "sentencepiece":
        rust.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        rust.pre_tokenizer = None  # type: ignore[assignment]
    return rust


@cache
def tokenizer_of(kind: str) -> HFTokenizer:
    """By name: of `CUTTING`, `OTHERS`, or ``pythia`` where its file is at hand."""
    regex = ByteLevel(add_prefix_space=False)
    match kind:
        case "pythia":
            return HFTokenizer.from_file(PYTHIA)
        case "added":
            return HFTokenizer(byte_bpe())
        case "word_piece":
            return HFTokenizer(word_piece())
        case "metaspace" | "sentencepiece" | "unigram":
            return HFTokenizer(_sentences(kind))
        case "nfc":
            rust = _bytes(regex, (AddedToken("  ", normalized=True), "a≠b", "<x-1>"))
            rust.normalizer = normalizers.NFC()
            return HFTokenizer(rust)
        case "digits":
            return HFTokenizer(_bytes(pre_tokenizers.Sequence([Digits(individual_digits=True), regex])))
        case "both":
            return HFTokenizer(_bytes(_split(LLAMA3, again=True)))
        case "rstrip":
            return HFTokenizer(_bytes(regex, (AddedToken("<x>", rstrip=True),)))
        case "prefix_space":
            return HFTokenizer(_bytes(ByteLevel(add_prefix_space=True)))
        case "unknown_pattern":
            return HFTokenizer(_bytes(_split(r"[a-z] [a-z]|.|\s")))
        case "plain":
            return HFTokenizer(_bytes(regex))
    pattern = {"gpt2": GPT2, "llama3": LLAMA3, "qwen": QWEN, "qwen35": QWEN35, "gpt4o": GPT4O}[kind]
    return HFTokenizer(_bytes(_split(pattern)))
