"""Whether rows of ids come back from their text unchanged, piece by piece: each piece between two places where the
tokenizer always cuts (see `harness.tokens.split_points`) is put to the test by itself, and once only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import pre_tokenizers

from harness.tokens.split_points import OTHER, Table, cut_table
from harness.tokens.tokenizer import Tokens

MAX_KNOWN = 1 << 17  # verdicts kept: some 25 MB
PER_TEXT = 256  # pieces that are joined to one text, since each call of the tokenizer costs more than a piece
_BREAK = "\ue0a5\ue0a6"  # stands between them, as a special token; private characters
_WIDTH = np.dtype(np.int64).itemsize


class Segments:
    """Pieces of rows under one tokenizer, and what is known of them."""

    def __init__(self, rust: tokenizers.Tokenizer, joining: tokenizers.Tokenizer, separator: int, cuts: Table) -> None:
        """See `of`; ``joining`` is the same tokenizer with the break as one token more, ``separator``."""
        self._plain, self._joining, self._break = rust, joining, separator
        first, last = _edges(rust)
        self._first, self._last = first, last * (OTHER + 1)  # added up they index the table
        self._cuts = cuts.ravel()
        self._known: dict[bytes, bool] = {}

    @classmethod
    def of(cls, rust: tokenizers.Tokenizer) -> Segments | None:
        """For a tokenizer without truncation and padding; None where it is not known to cut anywhere."""
        cuts = cut_table(json.loads(rust.to_str()))
        if cuts is None:
            return None
        joining = tokenizers.Tokenizer.from_str(rust.to_str())
        joining.add_special_tokens([tokenizers.AddedToken(_BREAK, normalized=False, special=True)])
        separator = joining.token_to_id(_BREAK)
        if separator is None or separator in rust.get_vocab(with_added_tokens=True).values():
            return None
        return cls(rust, joining, separator, cuts)

    def cuts(self, rows: Tokens) -> NDArray[np.bool_]:
        """Whether the text of each row [K, n] is always cut before a token, shape [K, n]; at the first it is."""
        found = np.ones(rows.shape, dtype=bool)
        if rows.shape[1] > 1:
            last = self._last.take(rows[:, :-1], mode="clip")
            self._cuts.take(last + self._first.take(rows[:, 1:], mode="clip"), out=found[:, 1:])
        return found

    def stable(self, rows: Tokens) -> NDArray[np.bool_]:
        """Whether each row [K, n] is what its own text tokenises to, shape [K]."""
        if rows.size == 0:
            return np.ones(len(rows), dtype=bool)
        at = np.flatnonzero(self.cuts(rows))
        content = np.ascontiguousarray(rows, dtype=np.int64).tobytes()
        starts = (at * _WIDTH).tolist()
        pieces = [content[i:j] for i, j in zip(starts, [*starts[1:], len(content)], strict=True)]
        if len(self._known) > MAX_KNOWN:
            self._known.clear()
        self._learn(list(set(pieces).difference(self._known)))
        good = np.fromiter(map(self._known.__getitem__, pieces), dtype=bool, count=len(pieces))
        return np.logical_and.reduceat(good, np.flatnonzero(at % rows.shape[1] == 0))

    def _learn(self, pieces: list[bytes]) -> None:
        """Put new pieces to the test."""
        groups = [pieces[at : at + PER_TEXT] for at in range(0, len(pieces), PER_TEXT)]
        between = np.int64(self._break).tobytes()
        joined = [between.join(group) for group in groups]
        texts = self._joining.decode_batch([_ids(content) for content in joined], skip_special_tokens=False)
        again = self._joining.encode_batch_fast(texts, add_special_tokens=False)
        for group, content, text, encoding in zip(groups, joined, texts, again, strict=True):
            if text.count(_BREAK) != len(group) - 1:  # a piece that spells the break itself
                self._known.update(zip(group, self._one_by_one(group), strict=True))
                continue
            ids = np.asarray(encoding.ids, dtype=np.int64)
            found = ids.tobytes()
            if found == content:
                self._known.update(dict.fromkeys(group, True))
                continue
            breaks = np.flatnonzero(ids == self._break) * _WIDTH
            parts = zip([0, *(breaks + _WIDTH).tolist()], [*breaks.tolist(), len(found)], strict=True)
            verdicts = (found[i:j] == piece for piece, (i, j) in zip(group, parts, strict=True))
            self._known.update(zip(group, verdicts, strict=True))

    def _one_by_one(self, pieces: Sequence[bytes]) -> Iterable[bool]:
        rows = [_ids(piece) for piece in pieces]
        texts = self._plain.decode_batch(rows, skip_special_tokens=False)
        again = self._plain.encode_batch_fast(texts, add_special_tokens=False)
        return (encoding.ids == row for encoding, row in zip(again, rows, strict=True))


def _ids(content: bytes) -> list[int]:
    ids: list[int] = np.frombuffer(content, dtype=np.int64).tolist()
    return ids


def _edges(rust: tokenizers.Tokenizer) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last character of each token as rows of a table of cuts; one more entry stands for unknown ids."""
    vocabulary = rust.get_vocab(with_added_tokens=True)
    added = rust.get_added_tokens_decoder()
    alphabet = set(pre_tokenizers.ByteLevel.alphabet())
    first = np.full(max(vocabulary.values(), default=-1) + 2, OTHER, dtype=np.int64)
    last = first.copy()
    for text, i in vocabulary.items():
        if text and i not in added and alphabet.issuperset(text):
            first[i], last[i] = _code(text[0]), _code(text[-1])
    return first, last


def _code(character: str) -> int:
    """The ASCII character that one of the byte-level alphabet stands for, or `OTHER`."""
    code = ord(character)
    if 0x21 <= code <= 0x7E:
        return code
    return code - 256 if 256 <= code <= 256 + 0x20 else OTHER  # control characters and the space follow upon Latin-1
