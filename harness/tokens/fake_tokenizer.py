"""A tokenizer for dry runs, in which no text is really tokenised: one character per token and back."""

from __future__ import annotations

from collections.abc import Sequence

_FIRST = 0x4E00  # the first of a long run of printable characters


class FakeTokenizer:
    """One printable character per token, so that every string survives tokenisation."""

    vocabulary = 1024
    special: frozenset[int] = frozenset()
    left: tuple[int, ...] = ()
    right: tuple[int, ...] = ()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [[ord(c) - _FIRST for c in text] for text in texts]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        return ["".join(chr(_FIRST + i) for i in row) for row in ids]

    def spans(self, text: str) -> list[tuple[int, int]]:
        return [(i, i + 1) for i in range(len(text))]
