"""Self-check of shared scoring: a few random items against single rows through the model's plain eager forward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.api.model.backend import ScoreItem, Target
from harness.engine.torch.scoring.copy_scorer import CopyScorer
from harness.engine.torch.scoring.packed.packed_pass import UnfitError
from harness.engine.torch.scoring.packed.scorer import PackedScorer
from harness.engine.torch.self_check.backend_check import relative_difference, switch_attention
from harness.engine.torch.self_check.tolerance import TOLERANCE, rounding, tolerance
from harness.tokens.tokenizer import Floats, Tokens

_SHAPES = ((7, 4, 3), (0, 5, 2), (13, 3, 0), (7, 1, 1), (2, 6, 4))  # before, attack string, after


Plain = Callable[[NDArray[np.int64], Target], Floats]
"""Readings of a head [n, width] of rows of equal length [n, L] for one target, by a full forward."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """What a self-check found.

    Attributes:
        difference: largest difference of a reading, relative to the largest reading where that is above 1.
        tolerance: what counts as rounding: in half precision by how far the eager forward is from float32.
    """

    difference: float
    tolerance: float

    def in_words(self, what: str) -> str:
        """Why ``what`` is not used, or ""."""
        return worded(self.difference, self.tolerance, what)


def deviation(model: Any, packing: PackedScorer | CopyScorer, plain: Plain, usable: Tokens, longest: int) -> Deviation:
    """Compare with full forwards.

    Args:
        plain: what to compare with.
        usable: ids to draw rows from.
        longest: tokens of the longest row that the check may use.

    Raises:
        UnfitError: this way of scoring does not work for this model.
        VictimError: no memory.
    """
    items = random_items(usable, longest, labels=packing.reader.labels)
    rows = [whole_rows(item) for item in items]
    near = packing.score(items, rows)
    far = packing.score([replace(item, near=None) for item in items], rows)
    asked = str(model.config._attn_implementation)
    switch_attention(model, "eager")  # where there is no eager attention, what is there must do
    try:
        reference = [
            np.concatenate([plain(row[None], item.target) for row in own])
            for item, own in zip(items, rows, strict=True)
        ]
        lost = rounding(
            model, lambda: [plain(own, item.target) for item, own in zip(items, rows, strict=True)], _largest
        )
    finally:
        switch_attention(model, asked)
    difference = max(_largest([found for found, _ in answers], reference) for answers in (near, far))
    return Deviation(difference, tolerance(model.dtype, lost))


def _largest(ours: Sequence[Floats], reference: Sequence[Floats]) -> float:
    return max(relative_difference(found, wanted) for found, wanted in zip(ours, reference, strict=True))


def random_items(usable: Tokens, longest: int, seed: int = 0, labels: bool = True) -> list[ScoreItem]:
    """Items of several shapes; some candidates differ from the current string early, some late, one not at all.

    Args:
        labels: whether the target is a label; else it is some ids.
    """
    rng = np.random.default_rng(seed)
    items = []
    for before, width, after in _SHAPES:
        wanted = 1 + width % 3
        if before + width + after + (0 if labels else wanted - 1) > longest:
            continue
        near = rng.choice(usable, size=width)
        candidates = np.repeat(near[None], width + 2, 0)
        for row, at in zip(candidates, (*range(width), 0), strict=False):
            row[at:] = np.where(rng.random(width - at) < 0.5, row[at:], rng.choice(usable, size=width - at))
        ids = (rng.choice(usable, size=n) for n in (before, after))
        target = 0 if labels else tuple(rng.choice(usable, size=wanted).tolist())
        items.append(ScoreItem(next(ids), candidates, next(ids), target, near))
    if not items:
        raise UnfitError(f"rows of {longest} tokens are too short to check it")
    return items


def whole_rows(item: ScoreItem) -> NDArray[np.int64]:
    """``before + candidate + after`` of each candidate, shape [K, P + S + T]."""
    count = len(item.candidates)
    parts = [np.broadcast_to(ids, (count, len(ids))) for ids in (item.before, item.after)]
    return np.concatenate([parts[0], item.candidates, parts[1]], axis=1).astype(np.int64, copy=False)


def tolerance_of(model: Any) -> float:
    """Allowed deviation in this model's dtype."""
    return TOLERANCE[model.dtype]


def worded(difference: float, tolerance: float, what: str = "packed rows") -> str:
    """Why this way of scoring is not used, or ""."""
    if difference <= tolerance:
        return ""
    return f"{what} differ from an eager forward by {difference:.2g} (tolerance {tolerance:g})"


__all__: Sequence[str] = ("Plain", "deviation", "random_items", "tolerance_of", "whole_rows", "worded")
