"""Whether rows of ids come back from their text unchanged, segment by segment: what stands between two places where the
tokenizer always splits (see `harness.tokens.split_points`) is decoded and tokenised by itself, and once only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import pre_tokenizers

from harness.tokens.split_points import NON_ASCII, SplitTable, split_table
from harness.tokens.tokenizer import Tokens

MAX_KNOWN = 1 << 17  # verdicts kept: some 25 MB
PER_TEXT = 256  # segments that are joined to one text, since each call of the tokenizer costs more than a segment
_BREAK = "\ue0a5\ue0a6"  # stands between them, as a special token; private characters
_WIDTH = np.dtype(np.int64).itemsize


class SegmentRoundTrip:
    """A `harness.tokens.tokenizer.RoundTrip` that remembers which segments survive.

    Args:
        rust: the tokenizer, without truncation and padding.
        joining: the same with one token more, ``separator``, which stands between segments in a joined text.
        table: which pairs of characters it always splits, shape [129, 129] (`split_points.SplitRule.table`).
        unspelled: special ids that no text of an attack is read as; `stable` knows them by a spelling of their own.
    """

    def __init__(
        self,
        rust: tokenizers.Tokenizer,
        joining: tokenizers.Tokenizer,
        separator: int,
        table: SplitTable,
        unspelled: Iterable[int] = (),
    ) -> None:
        self.unspelled = np.asarray(sorted(unspelled), dtype=np.int64)
        self._plain, self._joining, self._break = rust, joining, separator
        first, last = _edges(rust)
        self._first, self._last = first, last * (NON_ASCII + 1)  # added up they index the table
        self._table = table.ravel()
        self._known: dict[bytes, bool] = {}

    @classmethod
    def of(cls, rust: tokenizers.Tokenizer, unspelled: Iterable[int] = ()) -> SegmentRoundTrip | None:
        """For a tokenizer without truncation and padding; None where it is not known to split anywhere."""
        table = split_table(json.loads(rust.to_str()))
        if table is None:
            return None
        joining = tokenizers.Tokenizer.from_str(rust.to_str())
        joining.add_special_tokens([tokenizers.AddedToken(_BREAK, normalized=False, special=True)])
        separator = joining.token_to_id(_BREAK)
        if separator is None or separator in rust.get_vocab(with_added_tokens=True).values():
            return None
        return cls(rust, joining, separator, table, unspelled)

    def splits(self, rows: Tokens) -> NDArray[np.bool_]:
        """Whether the text of each row [K, n] is always split before a token, shape [K, n]; at the first it is."""
        found = np.ones(rows.shape, dtype=bool)
        if rows.shape[1] > 1:
            last = self._last.take(rows[:, :-1], mode="clip")
            self._table.take(last + self._first.take(rows[:, 1:], mode="clip"), out=found[:, 1:])
        return found

    def stable(self, rows: Tokens) -> NDArray[np.bool_]:
        """Whether each row [K, n] is what its own text tokenises to, shape [K]."""
        if rows.size == 0:
            return np.ones(len(rows), dtype=bool)
        at = np.flatnonzero(self.splits(rows))
        content = np.ascontiguousarray(rows, dtype=np.int64).tobytes()
        starts = (at * _WIDTH).tolist()
        segments = [content[i:j] for i, j in zip(starts, [*starts[1:], len(content)], strict=True)]
        if len(self._known) > MAX_KNOWN:
            self._known.clear()
        self._check(list(set(segments).difference(self._known)))
        good = np.fromiter(map(self._known.__getitem__, segments), dtype=bool, count=len(segments))
        return np.logical_and.reduceat(good, np.flatnonzero(at % rows.shape[1] == 0))

    def _check(self, segments: list[bytes]) -> None:
        """Decode and tokenise new segments, and remember which came back."""
        groups = [segments[at : at + PER_TEXT] for at in range(0, len(segments), PER_TEXT)]
        between = np.int64(self._break).tobytes()
        joined = [between.join(group) for group in groups]
        texts = self._joining.decode_batch([_ids(content) for content in joined], skip_special_tokens=False)
        again = self._joining.encode_batch_fast(texts, add_special_tokens=False)
        for group, content, text, encoding in zip(groups, joined, texts, again, strict=True):
            if text.count(_BREAK) != len(group) - 1:  # a segment that spells the break itself
                self._known.update(zip(group, self._one_by_one(group), strict=True))
                continue
            ids = np.asarray(encoding.ids, dtype=np.int64)
            found = ids.tobytes()
            if found == content:
                self._known.update(dict.fromkeys(group, True))
                continue
            breaks = np.flatnonzero(ids == self._break) * _WIDTH
            parts = zip([0, *(breaks + _WIDTH).tolist()], [*breaks.tolist(), len(found)], strict=True)
            verdicts = (found[i:j] == segment for segment, (i, j) in zip(group, parts, strict=True))
            self._known.update(zip(group, verdicts, strict=True))

    def _one_by_one(self, segments: Sequence[bytes]) -> Iterable[bool]:
        rows = [_ids(segment) for segment in segments]
        texts = self._plain.decode_batch(rows, skip_special_tokens=False)
        again = self._plain.encode_batch_fast(texts, add_special_tokens=False)
        return (encoding.ids == row for encoding, row in zip(again, rows, strict=True))


def _ids(content: bytes) -> list[int]:
    ids: list[int] = np.frombuffer(content, dtype=np.int64).tolist()
    return ids


def _edges(rust: tokenizers.Tokenizer) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last character of each token as rows of a split table; one more entry stands for unknown ids."""
    vocabulary = rust.get_vocab(with_added_tokens=True)
    added = rust.get_added_tokens_decoder()
    alphabet = set(pre_tokenizers.ByteLevel.alphabet())
    first = np.full(max(vocabulary.values(), default=-1) + 2, NON_ASCII, dtype=np.int64)
    last = first.copy()
    for text, i in vocabulary.items():
        if text and i not in added and alphabet.issuperset(text):
            first[i], last[i] = _code(text[0]), _code(text[-1])
    return first, last


def _code(character: str) -> int:
    """The ASCII character that one of the byte-level alphabet stands for, or `NON_ASCII`."""
    code = ord(character)
    if 0x21 <= code <= 0x7E:
        return code
    # Control characters and the space follow upon Latin-1.
    return code - 256 if 256 <= code <= 256 + 0x20 else NON_ASCII
