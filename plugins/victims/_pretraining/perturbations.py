"""Perturbed views of a text: random tokens, typos, and rewrites that leave what it says as it is."""

from __future__ import annotations

import re

import numpy as np

from harness import Tokenizer, allowed_tokens
from plugins._common.typos import add_typos
from plugins.victims._pretraining.params import Perturbation, Pretrain

_WORD = re.compile(r"\S+")
_LIST = re.compile(r"\w+(?:, \w+)+")
_CASES = (str.upper, str.lower, str.capitalize)


class TextPerturber:
    """Draws perturbed views of texts."""

    def __init__(self, tokenizer: Tokenizer, params: Pretrain) -> None:
        self._tokenizer, self._params = tokenizer, params
        self._allowed = allowed_tokens(tokenizer)

    def token_count(self, strength: float) -> int:
        """Random tokens of a view at a strength from 0 to 1: at least one."""
        return max(1, int(strength * self._params.inserted + 0.5))

    def view(self, text: str, kind: Perturbation, strength: float, rng: np.random.Generator) -> str:
        """The text with a random perturbation of that kind and strength."""
        if kind == "characters":
            return add_typos(text, strength * self._params.characters, rng)
        if kind == "rewrite":
            return rewrite(text, strength * self._params.rewritten, rng)
        ids = rng.choice(self._allowed, size=self.token_count(strength))
        gaps = [0, *(word.end() for word in _WORD.finditer(text))]
        at = gaps[int(rng.integers(len(gaps)))]
        return text[:at] + self._tokenizer.decode([ids.tolist()])[0] + text[at:]


def rewrite(text: str, share: float, rng: np.random.Generator) -> str:
    """The text with another order of its lists (``a, b, c``), or with other case of, or one more space before, a
    ``share`` of its words, at least one: one of the three by lot, of those that the text allows.
    """
    lists, words = list(_LIST.finditer(text)), list(_WORD.finditer(text))
    ways = ["case"] * bool(words) + ["space"] * (len(words) > 1) + ["order"] * bool(lists)
    if not ways:
        return text
    way = ways[int(rng.integers(len(ways)))]
    if way == "order":
        return _replaced(text, lists, lambda found: _shuffled(found, rng))
    candidates = words[1:] if way == "space" else words
    count = max(1, int(share * len(candidates) + 0.5))
    chosen = sorted(int(i) for i in rng.choice(len(candidates), size=min(count, len(candidates)), replace=False))
    spans = [candidates[i] for i in chosen]
    if way == "space":
        return _replaced(text, spans, lambda word: f" {word}")
    return _replaced(text, spans, lambda word: _CASES[int(rng.integers(len(_CASES)))](word))


def _shuffled(listed: str, rng: np.random.Generator) -> str:
    items = listed.split(", ")
    return ", ".join(items[int(i)] for i in rng.permutation(len(items)))


def _replaced(text: str, spans: list[re.Match[str]], change: object) -> str:
    made, end = [], 0
    for span in spans:
        made += [text[end : span.start()], change(span.group())]  # type: ignore[operator]
        end = span.end()
    return "".join(made) + text[end:]
