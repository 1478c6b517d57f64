"""Which tokens of which candidates are computed: cut into pieces of equal start, each behind one prefix.

Depends on the items alone, never on time, so that a run that is taken up again computes the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from harness.api.model.backend import ScoreItem
from harness.engine.torch.scoring.kv_cache import PrefixKV
from harness.tokens.tokenizer import Tokens


@dataclass(frozen=True, slots=True)
class ReusePiece:
    """Rows of one item that are computed from the same position on.

    Attributes:
        item: index of the item.
        rows: indices of the candidates, shape [n].
        start: position in the whole row of the first token that is computed; those before are the prefix's.
        ids: what is computed, shape [n, L].
        prefix: at least ``start`` tokens; None where ``start`` is 0.
    """

    item: int
    rows: NDArray[np.int64]
    start: int
    ids: Tokens
    prefix: PrefixKV | None = None

    @property
    def tokens(self) -> int:
        """How many are computed, n · L."""
        return int(self.ids.size)

    def followed_by(self, ids: Sequence[int]) -> ReusePiece:
        """The same rows with some more tokens at their ends."""
        if not ids:
            return self
        more = np.broadcast_to(np.asarray(ids, dtype=np.int64), (len(self.rows), len(ids)))
        return replace(self, ids=np.concatenate([self.ids, more], axis=1))

    def split(self, n: int) -> tuple[ReusePiece, ReusePiece]:
        """The first ``n`` rows, and the rest."""
        first = replace(self, rows=self.rows[:n], ids=self.ids[:n])
        return first, replace(self, rows=self.rows[n:], ids=self.ids[n:])


def first_differences(item: ScoreItem) -> NDArray[np.int64]:
    """For each candidate [K], where in the attack string computing must begin; -1 is the last token of ``before``.

    The last token of a row is always computed. All zero where reuse of the current string would cost more than it
    saves, or where there is none.
    """
    count, width = item.candidates.shape
    latest = width + len(item.after) - 1
    starts = np.zeros(count, dtype=np.int64)
    if item.near is not None and item.near.shape == (width,) and width:
        differs = item.candidates != item.near
        starts = np.where(differs.any(1), differs.argmax(1), width)
    starts = np.minimum(starts, latest).astype(np.int64)
    # The current string costs its own tokens: up to the latest start.
    pays = int(starts.sum()) > 2 * int(starts.max(initial=0))
    cheapest: NDArray[np.int64] = starts if pays else np.minimum(starts, 0)
    return cheapest


def plan_pieces(
    items: Sequence[ScoreItem],
    rows: Sequence[NDArray[np.int64]],
    starts: Sequence[NDArray[np.int64]],
    piece_overhead: float,
) -> list[ReusePiece]:
    """Pieces without prefixes, longest first, so that pieces of equal length lie together.

    Args:
        rows: whole rows of each item, [K, P + S + T].
        starts: of `first_differences`.
        piece_overhead: what one more piece costs, in tokens.
    """
    shapes: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for i, item in enumerate(items):
        if len(starts[i]):
            shapes[(item.candidates.shape[1], len(item.after))].append(i)
    pieces = []
    for members in shapes.values():
        bounds = cheapest_starts(np.concatenate([starts[i] for i in members]), piece_overhead * len(members))
        for i in members:
            group = np.searchsorted(bounds, starts[i], side="right") - 1
            order = np.argsort(group, kind="stable")
            ends = np.cumsum(np.bincount(group, minlength=len(bounds))).tolist()
            positions = (len(items[i].before) + bounds).tolist()
            ids = rows[i][:, positions[0] :][order]  # one copy, of which each piece takes a part
            for start, (first, last) in zip(positions, pairwise([0, *ends]), strict=True):
                if first < last:
                    pieces.append(ReusePiece(i, order[first:last], start, ids[first:last, start - positions[0] :]))
    return sorted(pieces, key=lambda piece: (-piece.ids.shape[1], piece.item))


def cheapest_starts(starts: NDArray[np.int64], overhead: float) -> NDArray[np.int64]:
    """The starts to compute from that cost least, sorted: each row begins at the last one not after its own start.

    Args:
        starts: of all rows, shape [n], n at least 1.
        overhead: what one more start costs, in tokens.
    """
    values, counts = np.unique(starts, return_counts=True)
    rows_below = np.concatenate([[0], np.cumsum(counts)])
    sum_below = np.concatenate([[0], np.cumsum(counts * values)])
    best = np.zeros(len(values) + 1)
    choice = np.zeros(len(values) + 1, dtype=np.int64)
    for end in range(1, len(values) + 1):
        # One group from values[j] to values[end - 1]: its rows compute that many tokens more than they need.
        extra = (sum_below[end] - sum_below[:end]) - values[:end] * (rows_below[end] - rows_below[:end])
        costs = best[:end] + extra + overhead
        choice[end] = int(costs.argmin())
        best[end] = costs[choice[end]]
    chosen, end = [], len(values)
    while end:
        end = int(choice[end])
        chosen.append(int(values[end]))
    return np.asarray(chosen[::-1], dtype=np.int64)
