"""Self-check of packed scoring: a few random items against single rows through the model's plain eager forward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.engine.agreement import TOLERANCE, relative_difference, switch_attention
from harness.engine.backend import ScoreItem
from harness.engine.scoring.packing import Packing
from harness.engine.scoring.passes import UnfitError
from harness.tokens.text import Floats, Tokens

_SHAPES = ((7, 4, 3), (0, 5, 2), (13, 3, 0), (7, 1, 1), (2, 6, 4))  # before, attack string, after


def deviation(
    model: Any, packing: Packing, plain: Callable[[NDArray[np.int64]], Floats], usable: Tokens, longest: int
) -> float:
    """Largest difference of a label logit, relative to the largest logit where that is above 1.

    Args:
        plain: label logits of rows of equal length by a full forward.
        usable: ids to draw rows from.
        longest: tokens of the longest row that the check may use.

    Raises:
        UnfitError: packed scoring does not work for this model.
        VictimError: no memory.
    """
    items = random_items(usable, longest)
    rows = [whole_rows(item) for item in items]
    near = packing.score(items, rows)
    far = packing.score([ScoreItem(i.before, i.candidates, i.after, i.target) for i in items], rows)
    asked = str(model.config._attn_implementation)
    switch_attention(model, "eager")  # where there is no eager attention, what is there must do
    try:
        reference = np.concatenate([plain(row[None]) for own in rows for row in own])
    finally:
        switch_attention(model, asked)
    found = [np.concatenate([logits for logits, _ in answers]) for answers in (near, far)]
    return max(relative_difference(logits, reference) for logits in found)


def random_items(usable: Tokens, longest: int, seed: int = 0) -> list[ScoreItem]:
    """Items of several shapes; some candidates differ from the current string early, some late, one not at all."""
    rng = np.random.default_rng(seed)
    items = []
    for before, width, after in _SHAPES:
        if before + width + after > longest:
            continue
        near = rng.choice(usable, size=width)
        candidates = np.repeat(near[None], width + 2, 0)
        for row, at in zip(candidates, (*range(width), 0), strict=False):
            row[at:] = np.where(rng.random(width - at) < 0.5, row[at:], rng.choice(usable, size=width - at))
        ids = (rng.choice(usable, size=n) for n in (before, after))
        items.append(ScoreItem(next(ids), candidates, next(ids), 0, near))
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


def worded(difference: float, tolerance: float) -> str:
    """Why packed scoring is not used, or ""."""
    if difference <= tolerance:
        return ""
    return f"packed rows differ from an eager forward by {difference:.2g} (tolerance {tolerance:g})"


__all__: Sequence[str] = ("deviation", "random_items", "tolerance_of", "whole_rows", "worded")
