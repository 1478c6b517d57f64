"""A small byte-level BPE made from a task's own text: the same text always gives the same tokenizer."""

from __future__ import annotations

from collections.abc import Iterable

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

PAD = "<pad>"


def train_bpe(texts: Iterable[str], entries: int) -> tokenizers.Tokenizer:
    """A tokenizer of at most ``entries`` ids, all 256 bytes and a padding token (id 0) among them; any text can be encoded and comes back unchanged."""
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
