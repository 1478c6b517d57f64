"""Candidates that derive from several strings, as the continuations of a beam search do: each behind its own.

A string that several candidates begin with is computed once for them. Depends on the items alone, never on time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.api.model.backend import ScoreItem
from harness.engine.torch.scoring.packed.reuse_plan import first_differences
from harness.tokens.tokenizer import Tokens

PIECES = 2  # more for each further string: it is computed itself, and then read behind


@dataclass(frozen=True, slots=True)
class BeamGroup:
    """Candidates of one item that derive from the same string.

    Attributes:
        item: index of the whole item.
        rows: indices of the candidates, shape [n].
        own: the item with these candidates alone, and with at most one string.
    """

    item: int
    rows: NDArray[np.int64]
    own: ScoreItem


def parted(items: Sequence[ScoreItem], overhead: float) -> list[BeamGroup]:
    """Each item as one part, or as one for each string where that costs less.

    Args:
        overhead: what one more piece costs, in tokens.
    """
    return [part for i, item in enumerate(items) for part in _parts(i, item, overhead)]


def joined(parts: Sequence[BeamGroup], answers: Sequence[tuple[NDArray[Any], float]], items: int) -> list[Any]:
    """Answers [n, width] and FLOPs of parts, as those of their items."""
    found: list[Any] = [None] * items
    for i in range(items):
        own = [(part.rows, *answer) for part, answer in zip(parts, answers, strict=True) if part.item == i]
        order = np.argsort(np.concatenate([rows for rows, _, _ in own]), kind="stable")
        found[i] = np.concatenate([values for _, values, _ in own])[order], sum(flops for _, _, flops in own)
    return found


def _parts(at: int, item: ScoreItem, overhead: float) -> list[BeamGroup]:
    everything = np.arange(len(item.candidates))
    if item.near is None or item.near.ndim == 1:
        return [BeamGroup(at, everything, item)]
    if item.near.ndim != 2 or not len(item.near) or item.near.shape[1] != item.candidates.shape[1]:
        return [BeamGroup(at, everything, replace(item, near=None))]
    single = [BeamGroup(at, everything, replace(item, near=item.near[0]))]
    nearest = _shared(item.candidates, item.near).argmax(1) if len(everything) else everything
    groups = [np.flatnonzero(nearest == string) for string in np.unique(nearest)]
    several = [
        BeamGroup(at, rows, replace(item, candidates=item.candidates[rows], near=item.near[nearest[rows[0]]]))
        for rows in groups
    ]
    more = overhead * PIECES * (len(several) - 1)
    return several if several and _tokens(several) + more < _tokens(single) else single


def _shared(candidates: Tokens, strings: Tokens) -> NDArray[np.int64]:
    """How many tokens each candidate [K, S] begins with as each string [n, S] does; shape [K, n]."""
    same = candidates[:, None, :] == strings[None]
    return np.asarray(same.cumprod(axis=2).sum(axis=2), dtype=np.int64)


def _tokens(parts: Sequence[BeamGroup]) -> int:
    """How many tokens of attack strings are computed, those that parts share included."""
    starts = [first_differences(part.own) for part in parts]
    rows = sum(part.own.candidates.size - int(own.sum()) for part, own in zip(parts, starts, strict=True))
    return rows + sum(int(own.max(initial=0)) for own in starts)
