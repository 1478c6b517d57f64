"""A tokenizer for dry runs: one character per token and back."""

from __future__ import annotations

from collections.abc import Sequence

_READABLE = "\n\t" + "".join(map(chr, range(ord(" "), ord("~") + 1)))
_OTHERS = 0x4E00  # the first of a long run of printable characters, for the tokens that are left
_IDS = {character: i for i, character in enumerate(_READABLE)}


class FakeTokenizer:
    """One printable character per token, so that every string survives tokenisation. English text is its own
    characters; what is in no token stands for some token.
    """

    vocabulary = 1024
    special: frozenset[int] = frozenset()
    left: tuple[int, ...] = ()
    right: tuple[int, ...] = ()
    takes_messages = True

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [[_id(character) for character in text] for text in texts]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        return ["".join(_character(i) for i in row) for row in ids]

    def spans(self, text: str) -> list[tuple[int, int]]:
        return [(i, i + 1) for i in range(len(text))]


def _character(token: int) -> str:
    return _READABLE[token] if token < len(_READABLE) else chr(_OTHERS + token)


def _id(character: str) -> int:
    known = _IDS.get(character)
    if known is not None:
        return known
    spare = FakeTokenizer.vocabulary - len(_READABLE)
    return len(_READABLE) + (ord(character) - _OTHERS - len(_READABLE)) % spare
