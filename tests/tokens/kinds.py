"""Small tokenizers of every kind that models come with, trained in the test."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.pre_tokenizers import ByteLevel, Digits, PreTokenizer, Split

from harness.tokens.hf_tokenizer import HFTokenizer
from harness.tokens.split_points import PATTERNS
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
SENTENCES = ("metaspace", "sentencepiece", "first", "unigram", "unigram_bytes")  # like SentencePiece's
OTHERS = ("word_piece", "prefix_space", "rstrip", "unknown_pattern", *SENTENCES)


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


def _sentences(kind: str) -> tokenizers.Tokenizer:
    """Spaces are marks of their own, as in SentencePiece, and one stands before every text. ``sentencepiece`` puts it
    there as Llama 2 does, ``first`` as Llama 2 does in newer files (and its line ends are bytes, as there).
    """
    fallback = [f"<0x{i:02X}>" for i in range(256)]
    special = ["<unk>"] if kind == "unigram" else ["<unk>", *fallback]
    trainer: trainers.Trainer
    if kind in ("unigram", "unigram_bytes"):
        rust = tokenizers.Tokenizer(models.Unigram())
        trainer = trainers.UnigramTrainer(
            vocab_size=len(special) + 199, special_tokens=special, unk_token="<unk>", show_progress=False
        )
    else:
        rust = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
        trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=special, show_progress=False)
    rust.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first" if kind == "first" else "always")
    rust.decoder = decoders.Metaspace()
    if kind in ("sentencepiece", "first", "unigram_bytes"):
        rust.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
    rust.train_from_iterator([" ".join(text.split()) for text in TEXT * 3] if kind == "first" else TEXT * 3, trainer)
    if kind == "sentencepiece":
        rust.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        rust.pre_tokenizer = None  # type: ignore[assignment]
    data = json.loads(rust.to_str())
    data["model"]["byte_fallback"] = kind not in ("metaspace", "unigram")
    data["added_tokens"] = data["added_tokens"][:1]  # as in real files the bytes are ordinary tokens
    return tokenizers.Tokenizer.from_str(json.dumps(data))


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
        case "metaspace" | "sentencepiece" | "first" | "unigram" | "unigram_bytes":
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
