"""A small byte-level BPE trained on a task's own text: the same text always gives the same tokenizer."""

from __future__ import annotations

from collections.abc import Iterable

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from harness import TaskData
from plugins.victims._text_lengths import SAMPLE_SIZE

PAD = "<pad>"
DEFAULT_CHARS_PER_TOKEN = 4.0  # where there is no text
_chars_per_token: dict[tuple[str, int], float] = {}  # by data hash and entries


def bpe_from_texts(texts: Iterable[str], entries: int) -> tokenizers.Tokenizer:
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
    """Characters per token of the task's prompts and replies, within a few percent: of a tokenizer of ``entries`` ids
    trained on a sample of them. `DEFAULT_CHARS_PER_TOKEN` where there is no text.
    """
    key = data.hash, entries
    texts = [example.text + example.reply for example in data.train[:SAMPLE_SIZE]]
    if not any(texts):
        return DEFAULT_CHARS_PER_TOKEN
    if key not in _chars_per_token:
        encodings = bpe_from_texts(texts, entries).encode_batch(texts)
        _chars_per_token[key] = sum(map(len, texts)) / max(1, sum(len(encoding.ids) for encoding in encodings))
    return _chars_per_token[key]
