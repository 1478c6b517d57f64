"""BPE-dropout: the same text in other tokens."""

from __future__ import annotations

import json
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import tokenizers
from pydantic import Field

from harness import (
    Case,
    FitJob,
    HFTokenizer,
    Params,
    Rewritten,
    Tokenizer,
    TransformDefense,
    VictimError,
    hookimpl,
)

CHECKED = 50  # training prompts


class Retokenization(TransformDefense):
    """Cut the prompt into tokens anew, each merge of the BPE being skipped at random."""

    name = "retokenization"
    paper = "Jain et al. 2023, arXiv:2309.00614; Provilkov et al. 2020, BPE-Dropout, arXiv:1910.13267"

    class Params(Params):
        """How much is skipped."""

        dropout: float = Field(
            0.4, ge=0, le=1, description="chance to skip a merge; 0: the usual tokens, 1: single bytes or characters"
        )

    @property
    def randomised(self) -> bool:
        return 0 < self.params.dropout < 1

    @property
    def gives_tokens(self) -> bool:
        return True

    def fit(self, job: FitJob) -> dict[str, Any]:
        """Check that without dropout the victim's own tokens come out. Raises VictimError where they do not."""
        texts = [example.text for example in job.data.train[:CHECKED]]
        bpe = _bpe(job.victim.tokenizer)
        for text, wanted in zip(texts, job.victim.tokenizer.encode(texts), strict=True):
            if bpe.encode(text, 0.0, job.rng) != wanted:
                raise VictimError("retokenization: this victim's tokenizer cuts in a way that is not known here")
        return {"checked": len(texts)}

    def rewrite(self, case: Case) -> Any:
        yield from ()
        ids = _bpe(case.tokenizer).encode(case.text, self.params.dropout, case.rng)
        return Rewritten(case.text, tuple(ids))


def _bpe(tokenizer: Tokenizer) -> BPE:
    if not isinstance(tokenizer, HFTokenizer):
        raise VictimError("retokenization: needs a victim whose tokenizer is here; this one's is elsewhere")
    return BPE.of(tokenizer.to_json())


class BPE:
    """A byte-pair encoding whose merges can be skipped; what goes before and after them is the tokenizer's own."""

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
    def of(serialised: str) -> BPE:
        """The same for equal tokenizers."""
        return BPE(serialised)

    def encode(self, text: str, dropout: float, rng: np.random.Generator) -> list[int]:
        """Ids of a text, special tokens in it included; without dropout, those of the tokenizer."""
        found: list[int] = []
        for part, added in self._parts(text):
            if added is not None:
                found.append(added)
                continue
            normalised = self.rust.normalizer.normalize_str(part) if self.rust.normalizer else part
            words = [normalised]
            if self.rust.pre_tokenizer:
                words = [word for word, _ in self.rust.pre_tokenizer.pre_tokenize_str(normalised)]
            for word in words:
                found += self.word(word, dropout, rng)
        return found

    def word(self, word: str, dropout: float, rng: np.random.Generator) -> list[int]:
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
                ranked = [one for one, draw in zip(ranked, rng.random(len(ranked)), strict=True) if draw >= dropout]
            if not ranked:
                break
            _, at = min(ranked)
            symbols[at : at + 2] = [symbols[at] + symbols[at + 1].removeprefix(prefix)]
        return [i for symbol in symbols for i in self._ids(symbol)]

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
            hits = [(at, -len(word), word) for word in added if (at := text.find(word)) >= 0]
            if not hits:
                parts.append((text, None))
                break
            at, _, word = min(hits)
            parts += [(text[:at], None)] if at else []
            parts.append((word, added[word]))
            text = text[at + len(word) :]
        return parts


@hookimpl
def harness_register_defenses(register):
    register(Retokenization)
