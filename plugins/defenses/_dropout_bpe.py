"""A byte-pair encoding that skips merges at random, by a given generator (`tokenizers` draws by a seed of its own)."""

from __future__ import annotations

import json
from functools import lru_cache
from itertools import pairwise

import numpy as np
import tokenizers

from harness import VictimError


class DropoutBPE:
    """The BPE of a tokenizer with merges that can be skipped (Provilkov et al. 2020, BPE-Dropout, arXiv 1910.13267).
    Normalisation and pre-tokenisation are the tokenizer's own.
    """

    def __init__(self, serialised: str) -> None:
        """Read a ``tokenizer.json``. Raises VictimError where it is no BPE."""
        model = json.loads(serialised)["model"]
        if model.get("type") != "BPE":
            raise VictimError(f"retokenization: the victim's tokenizer is {model.get('type')}, not BPE; exclude it")
        self.vocabulary: dict[str, int] = model["vocab"]
        pairs = [tuple(m.split(" ", 1)) if isinstance(m, str) else tuple(m) for m in model["merges"]]
        self.ranks = {pair: rank for rank, pair in enumerate(pairs)}
        self.whole = bool(model.get("ignore_merges"))  # a word that is a token stays one
        self.ends = model.get("end_of_word_suffix") or "", model.get("continuing_subword_prefix") or ""
        self.byte_fallback, self.unknown = bool(model.get("byte_fallback")), model.get("unk_token")
        self.rust = tokenizers.Tokenizer.from_str(serialised)

    @staticmethod
    @lru_cache(maxsize=8)
    def of(serialised: str) -> DropoutBPE:
        """As the constructor; cached, since reading a large vocabulary takes a while."""
        return DropoutBPE(serialised)

    def encode(self, text: str, dropout: float, rng: np.random.Generator) -> list[int]:
        """Ids of a text, special tokens in it included.

        Args:
            dropout: probability to skip each merge, from 0 (the tokenizer's own ids) to 1.
        """
        ids: list[int] = []
        for part, added in self._parts(text):
            if added is not None:
                ids.append(added)
                continue
            normalised = self.rust.normalizer.normalize_str(part) if self.rust.normalizer else part
            words = [normalised]
            if self.rust.pre_tokenizer:
                words = [word for word, _ in self.rust.pre_tokenizer.pre_tokenize_str(normalised)]
            for word in words:
                ids += self.encode_word(word, dropout, rng)
        return ids

    def encode_word(self, word: str, dropout: float, rng: np.random.Generator) -> list[int]:
        """Ids of one word, as the pre-tokenizer gives it (byte-level: a character stands for each byte)."""
        if not word:
            return []
        if self.whole and not dropout and word in self.vocabulary:
            return [self.vocabulary[word]]
        suffix, prefix = self.ends
        symbols = [prefix * (i > 0) + char + suffix * (i == len(word) - 1) for i, char in enumerate(word)]
        while len(symbols) > 1:
            pairs = list(pairwise(symbols))
            ranked = [(self.ranks[pair], i) for i, pair in enumerate(pairs) if pair in self.ranks]
            if dropout and ranked:
                ranked = [pair for pair, draw in zip(ranked, rng.random(len(ranked)), strict=True) if draw >= dropout]
            if not ranked:
                break
            _, i = min(ranked)
            symbols[i : i + 2] = [symbols[i] + symbols[i + 1].removeprefix(prefix)]
        return [token for symbol in symbols for token in self._ids(symbol)]

    def _ids(self, symbol: str) -> list[int]:
        if symbol in self.vocabulary:
            return [self.vocabulary[symbol]]
        bytes_ = [f"<0x{byte:02X}>" for byte in symbol.encode()]
        if self.byte_fallback and all(byte in self.vocabulary for byte in bytes_):
            return [self.vocabulary[byte] for byte in bytes_]
        return [self.vocabulary[self.unknown]] if self.unknown in self.vocabulary else []

    def _parts(self, text: str) -> list[tuple[str, int | None]]:
        """The text cut at added tokens, which no merge makes."""
        added = {token.content: i for i, token in self.rust.get_added_tokens_decoder().items()}
        parts: list[tuple[str, int | None]] = []
        while text:
            matches = [(start, -len(word), word) for word in added if (start := text.find(word)) >= 0]
            if not matches:
                parts.append((text, None))
                break
            start, _, word = min(matches)
            parts += [(text[:start], None)] if start else []
            parts.append((word, added[word]))
            text = text[start + len(word) :]
        return parts
