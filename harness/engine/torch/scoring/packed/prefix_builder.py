"""Computes the keys and values that candidates share, as far as they are not remembered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from harness.api.model.backend import ScoreItem
from harness.engine.torch.memory.chunks import Chunker
from harness.engine.torch.scoring.kv_cache import LayerKV, PrefixCache, PrefixKV, cache_key, copy_tokens
from harness.engine.torch.scoring.packed.flop_costs import ScoringFlops
from harness.engine.torch.scoring.packed.packed_forward import run_in_chunks
from harness.engine.torch.scoring.packed.packed_pass import PackedPass
from harness.engine.torch.scoring.packed.reuse_plan import ReusePiece
from harness.tokens.tokenizer import Tokens


class PrefixBuilder:
    """Prefixes of one model: what stands before the attack string is remembered; the current string is computed each
    time, but where a gradient of it was asked for just before.
    """

    def __init__(
        self, run: Callable[[list[ReusePiece]], PackedPass], flops: ScoringFlops, chunker: Chunker, cache: PrefixCache
    ) -> None:
        """Take what computes prefixes.

        Args:
            run: runs pieces and keeps their keys and values.
            flops: of the same model.
            chunker: tokens per forward.
            cache: of what stands before attack strings.
        """
        self._run, self._flops, self._chunker, self._cache = run, flops, chunker, cache
        self._strings: dict[bytes, PrefixKV] = {}
        self._room = 0

    def forget_strings(self) -> None:
        """Drop what `keep_string` kept."""
        self._strings.clear()
        self._room = self._cache.limit

    def keep_string(self, before: Tokens, string: Tokens, kv: PrefixKV) -> None:
        """Keep keys and values of a current string that came up on the way, as far as there is room.

        Args:
            before: what stands before the string.
            kv: of the string alone.
        """
        if kv.size <= self._room:
            self._strings[cache_key(before, string)] = kv
            self._room -= kv.size

    def prefixes_for(
        self, items: Sequence[ScoreItem], pieces: Sequence[ReusePiece]
    ) -> tuple[dict[int, PrefixKV], defaultdict[int, float]]:
        """Keys and values of each item up to the latest start of its pieces, and the FLOPs they cost now, by item."""
        flops: defaultdict[int, float] = defaultdict(float)
        latest: dict[int, int] = {}
        for piece in pieces:
            latest[piece.item] = max(latest.get(piece.item, 0), piece.start)
        prefixes: dict[int, PrefixKV] = {}
        current_strings = []
        for i, start in sorted(latest.items()):
            # Whole even where its last token is computed again (a row that ends with it): what `warm` is told of.
            before = items[i].before if start else items[i].before[:0]
            if len(before):
                prefixes[i], cost = self.compute(before)
                flops[i] += cost
            if start > len(before):
                current = items[i].near
                assert current is not None  # nothing but reuse of the current string begins later than ``before`` ends
                kept = self._strings.get(cache_key(before, current))
                if kept is not None:
                    tokens = slice(0, start - len(before))
                    prefixes[i] = _with_tokens(prefixes.get(i), kept.layers, tokens)
                    continue
                ids = current[None, : start - len(before)]
                current_strings.append(ReusePiece(i, np.zeros(1, dtype=np.int64), len(before), ids, prefixes.get(i)))
        current_strings.sort(key=lambda piece: (-piece.ids.shape[1], piece.item))
        for done, packed in run_in_chunks(self._run, current_strings, self._chunker):
            at = 0
            for piece in done:
                tokens = slice(at, at + piece.tokens)
                prefixes[piece.item] = _with_tokens(prefixes.get(piece.item), packed.kv, tokens)
                flops[piece.item] += self._flops.body(piece)
                at = tokens.stop
        return prefixes, flops

    def compute(self, ids: Tokens) -> tuple[PrefixKV, float]:
        """Keys and values of an example's own beginning, and the FLOPs they cost now.

        Always a forward of its own: the numbers are then the same, bit by bit, whether or not they were remembered.
        """
        key = cache_key(ids)
        known = self._cache.get(key)
        if known is not None:
            return known, 0.0
        piece = ReusePiece(0, np.zeros(1, dtype=np.int64), 0, ids[None])
        ((_, packed),) = run_in_chunks(self._run, [piece], self._chunker)
        prefix = copy_tokens(packed.kv, slice(0, len(ids)))
        self._cache.put(key, prefix)
        return prefix, self._flops.body(piece)


def _with_tokens(prefix: PrefixKV | None, row: LayerKV, tokens: slice) -> PrefixKV:
    """A prefix, if there is one, followed by some tokens of a packed row."""
    return prefix.extended(row, tokens) if prefix else copy_tokens(row, tokens)
