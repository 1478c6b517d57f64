"""A small byte-level BPE made from a task's own text: the same text always gives the same tokenizer."""

from __future__ import annotations

from collections.abc import Iterable

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from harness import TaskData
from plugins.victims._text_lengths import SAMPLE

PAD = "<pad>"
COMMON = 4.0  # characters per token, where there is no text to tell
_measured: dict[tuple[str, int], float] = {}  # by data hash and entries


def train_bpe(texts: Iterable[str], entries: int) -> tokenizers.Tokenizer:
    """A tokenizer of at most ``entries`` ids, all 256 bytes and a padding token (id 0) among them; any text can be
    encoded and comes back unchanged.
    """
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=entries,
        special_tokens=[PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def chars_per_token(data: TaskData, entries: int) -> float:
    """Characters per token of the task's prompts, and replies, under a tokenizer made from a few of them; within a few
    percent. Where there are none, as commonly.
    """
    key = data.hash, entries
    texts = [example.text + example.reply for example in data.train[:SAMPLE]]
    if not any(texts):
        return COMMON
    if key not in _measured:
        encodings = train_bpe(texts, entries).encode_batch(texts)
        _measured[key] = sum(map(len, texts)) / max(1, sum(len(encoding.ids) for encoding in encodings))
    return _measured[key]
