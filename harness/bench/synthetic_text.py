"""Made-up text and a byte-level BPE for models with random weights: the same numbers always give the same ids."""

from __future__ import annotations

import numpy as np
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

END_OF_TEXT = "<|endoftext|>"
_LEXICON = 4000  # enough words for a BPE of a few thousand entries to fill up


def synthetic_text(words: int, seed: int = 0) -> str:
    """So many words of consonant-vowel syllables, frequent ones far more often than rare ones, as in a language."""
    rng = np.random.default_rng(0)
    syllables = np.asarray([c + v for c in "bdfgklmnprstvz" for v in "aeiou"])
    lexicon = ["".join(syllables[rng.integers(len(syllables), size=size)]) for size in rng.integers(1, 4, _LEXICON)]
    chance = 1.0 / np.arange(3, _LEXICON + 3)
    drawn = np.random.default_rng(seed).choice(_LEXICON, size=words, p=chance / chance.sum())
    return " ".join(lexicon[i] for i in drawn)


def synthetic_bpe(entries: int) -> tokenizers.Tokenizer:
    """A byte-level BPE of at most ``entries`` ids, trained on made-up text; id 0 is the end of a text."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=entries,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([synthetic_text(1000, seed) for seed in range(40)], trainer)
    return tokenizer
