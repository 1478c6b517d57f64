"""Computes the keys and values that candidates share, as far as they are not remembered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from harness.api.model.backend import ScoreItem
from harness.engine.torch.memory.chunks import Chunker
from harness.engine.torch.scoring.kv_cache import Prefix, PrefixCache, cut_out
from harness.engine.torch.scoring.packed.flop_costs import ScoringFlops
from harness.engine.torch.scoring.packed.forward import batches
from harness.engine.torch.scoring.packed.packed_pass import PackedPass
from harness.engine.torch.scoring.packed.reuse_plan import ReusePiece
from harness.tokens.tokenizer import Tokens


class Prefixes:
    """Of one model: what stands before the attack string is remembered; the current string is computed each time, but
    where a gradient of it was asked for just before.
    """

    def __init__(
        self, skim: Callable[[list[ReusePiece]], PackedPass], costs: ScoringFlops, chunker: Chunker, cache: PrefixCache
    ) -> None:
        """``skim`` runs pieces and keeps their keys and values."""
        self._skim, self._costs, self._chunker, self._cache = skim, costs, chunker, cache
        self._strings: dict[bytes, Prefix] = {}
        self._room = 0

    def forget_strings(self) -> None:
        """Drop what `keep_string` kept."""
        self._strings.clear()
        self._room = self._cache.limit

    def keep_string(self, before: Tokens, string: Tokens, part: Prefix) -> None:
        """Keep keys and values of a current string behind ``before`` that came up on the way, as far as there is room.

        Args:
            part: of the string alone.
        """
        if part.size <= self._room:
            self._strings[_key(before, string)] = part
            self._room -= part.size

    def of(
        self, items: Sequence[ScoreItem], pieces: Sequence[ReusePiece]
    ) -> tuple[dict[int, Prefix], defaultdict[int, float]]:
        """Keys and values of each item up to the latest cut of its pieces, and the FLOPs they cost now, by item."""
        flops: defaultdict[int, float] = defaultdict(float)
        latest: dict[int, int] = {}
        for piece in pieces:
            latest[piece.item] = max(latest.get(piece.item, 0), piece.cut)
        found: dict[int, Prefix] = {}
        currents = []
        for i, cut in sorted(latest.items()):
            # Whole even where its last token is computed again (a row that ends with it): what `begin` is told of.
            before = items[i].before if cut else items[i].before[:0]
            if len(before):
                found[i], cost = self.compute(before)
                flops[i] += cost
            if cut > len(before):
                near = items[i].near
                assert near is not None  # nothing but reuse of the current string cuts behind ``before``
                kept = self._strings.get(_key(before, near))
                if kept is not None:
                    part = slice(0, cut - len(before))
                    found[i] = found[i].then(kept.layers, part) if len(before) else cut_out(kept.layers, part)
                    continue
                ids = near[None, : cut - len(before)]
                currents.append(ReusePiece(i, np.zeros(1, dtype=np.int64), len(before), ids, found.get(i)))
        currents.sort(key=lambda piece: (-piece.ids.shape[1], piece.item))
        for done, this in batches(self._skim, currents, self._chunker, 1 << 30):
            at = 0
            for piece in done:
                tokens = slice(at, at + piece.tokens)
                old = found.get(piece.item)
                found[piece.item] = old.then(this.kept, tokens) if old else cut_out(this.kept, tokens)
                flops[piece.item] += self._costs.computed(piece)
                at = tokens.stop
        return found, flops

    def compute(self, ids: Tokens) -> tuple[Prefix, float]:
        """Keys and values of an example's own beginning, and what they cost now.

        Always a forward of its own: the numbers are then the same, bit by bit, whether or not they were remembered.
        """
        key = _key(ids)
        known = self._cache.get(key)
        if known is not None:
            return known, 0.0
        piece = ReusePiece(0, np.zeros(1, dtype=np.int64), 0, ids[None])
        ((_, this),) = batches(self._skim, [piece], self._chunker, 1)
        prefix = cut_out(this.kept, slice(0, len(ids)))
        self._cache.put(key, prefix)
        return prefix, self._costs.computed(piece)


def _key(*parts: Tokens) -> bytes:
    return b"|".join(part.astype(np.int64, copy=False).tobytes() for part in parts)
