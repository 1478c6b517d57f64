"""Candidates that derive from several strings, as the continuations of a beam search do: each group behind its own.

A string that several candidates begin with is computed once for them. Depends on the items alone, never on time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness.api.model.backend import ScoreItem
from harness.engine.torch.scoring.head_reader import ItemOutputs
from harness.engine.torch.scoring.packed.reuse_plan import first_differences
from harness.tokens.tokenizer import Tokens

_EXTRA_PIECES = 2  # for each further string: it is computed itself, and its candidates follow it


@dataclass(frozen=True, slots=True)
class BeamGroup:
    """Candidates of one item that derive from the same string.

    Attributes:
        item: index of the whole item.
        rows: indices of the candidates, shape [n].
        subitem: the item with these candidates alone, and with at most one string.
    """

    item: int
    rows: NDArray[np.int64]
    subitem: ScoreItem


def split_by_string(items: Sequence[ScoreItem], piece_overhead: float) -> list[BeamGroup]:
    """Each item as one group, or as one for each string where that costs less.

    Args:
        piece_overhead: what one more piece costs, in tokens.
    """
    return [group for i, item in enumerate(items) for group in _groups(i, item, piece_overhead)]


def merge_groups(groups: Sequence[BeamGroup], answers: Sequence[ItemOutputs], items: int) -> list[ItemOutputs]:
    """Answers to groups as those to their ``items`` items, candidates in their order."""
    merged = []
    for i in range(items):
        members = [(group.rows, answer) for group, answer in zip(groups, answers, strict=True) if group.item == i]
        order = np.argsort(np.concatenate([rows for rows, _ in members]), kind="stable")
        values = np.concatenate([answer.values for _, answer in members])[order]
        merged.append(ItemOutputs(values, sum(answer.executed for _, answer in members)))
    return merged


def _groups(at: int, item: ScoreItem, piece_overhead: float) -> list[BeamGroup]:
    everything = np.arange(len(item.candidates))
    if item.near is None or item.near.ndim == 1:
        return [BeamGroup(at, everything, item)]
    if item.near.ndim != 2 or not len(item.near) or item.near.shape[1] != item.candidates.shape[1]:
        return [BeamGroup(at, everything, replace(item, near=None))]
    single = [BeamGroup(at, everything, replace(item, near=item.near[0]))]
    nearest = _common_prefixes(item.candidates, item.near).argmax(1) if len(everything) else everything
    several = [
        BeamGroup(at, rows, replace(item, candidates=item.candidates[rows], near=item.near[string]))
        for string in np.unique(nearest)
        for rows in [np.flatnonzero(nearest == string)]
    ]
    more = piece_overhead * _EXTRA_PIECES * (len(several) - 1)
    return several if several and _computed_tokens(several) + more < _computed_tokens(single) else single


def _common_prefixes(candidates: Tokens, strings: Tokens) -> NDArray[np.int64]:
    """How many tokens each candidate [K, S] begins with as each string [n, S] does; shape [K, n]."""
    same = candidates[:, None, :] == strings[None]
    return np.asarray(same.cumprod(axis=2).sum(axis=2), dtype=np.int64)


def _computed_tokens(groups: Sequence[BeamGroup]) -> int:
    """How many tokens of attack strings are computed, those of the groups' strings included."""
    starts = [first_differences(group.subitem) for group in groups]
    of_rows = sum(
        group.subitem.candidates.size - int(group_starts.sum())
        for group, group_starts in zip(groups, starts, strict=True)
    )
    return of_rows + sum(int(group_starts.max(initial=0)) for group_starts in starts)
