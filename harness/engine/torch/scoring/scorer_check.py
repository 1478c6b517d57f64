"""Self-check of scorers that share prefixes: a few random items against single rows through plain eager forwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.api.model.backend import ScoreItem
from harness.engine.torch.attention_switch import EAGER, attention_switched
from harness.engine.torch.scoring.copy_scorer import CopyScorer
from harness.engine.torch.scoring.full_scorer import FullScorer
from harness.engine.torch.scoring.packed.scorer import PackedScorer
from harness.engine.torch.scoring.unsupported import UnsupportedModelError
from harness.engine.torch.self_check.tolerance import allowed_difference, measure_rounding, relative_difference
from harness.engine.torch.token_rows import whole_rows
from harness.tokens.tokenizer import Floats, Tokens

_SHAPES = ((7, 4, 3), (0, 5, 2), (13, 3, 0), (7, 1, 1), (2, 6, 4))  # tokens before, of and after the attack string


@dataclass(frozen=True, slots=True)
class ScorerCheck:
    """What a self-check found.

    Attributes:
        difference: largest difference of an output of the head, relative to the largest output where that is above 1.
        tolerance: what counts as rounding: in half precision by how far the eager forward is from float32.
    """

    difference: float
    tolerance: float


def check_scorer(
    model: Any, scorer: PackedScorer | CopyScorer, full: FullScorer, ordinary_ids: Tokens, longest: int
) -> ScorerCheck:
    """Compare a scorer with full forwards, with current strings and without.

    Args:
        ordinary_ids: to draw rows from.
        longest: tokens of the longest row that the check may use.

    Raises:
        UnsupportedModelError: this way of scoring does not work for this model.
        VictimError: no memory.
    """
    items = random_items(ordinary_ids, longest, labels=scorer.reader.labels)
    rows = [whole_rows(item) for item in items]
    with_current = scorer.score(items, rows)
    without = scorer.score([replace(item, near=None) for item in items], rows)
    with attention_switched(model, EAGER):
        reference = [
            np.concatenate([full.outputs(row[None], [item.target]) for row in item_rows])
            for item, item_rows in zip(items, rows, strict=True)
        ]
        rounding = measure_rounding(
            model,
            lambda: [
                full.outputs(item_rows, [item.target] * len(item_rows))
                for item, item_rows in zip(items, rows, strict=True)
            ],
            _largest_difference,
        )
    difference = max(
        _largest_difference([answer.values for answer in answers], reference) for answers in (with_current, without)
    )
    return ScorerCheck(difference, allowed_difference(model.dtype, rounding))


def _largest_difference(ours: Sequence[Floats], reference: Sequence[Floats]) -> float:
    return max(relative_difference(found, wanted) for found, wanted in zip(ours, reference, strict=True))


def random_items(ordinary_ids: Tokens, longest: int, seed: int = 0, labels: bool = True) -> list[ScoreItem]:
    """Items of several shapes; some candidates differ from the current string early, some late, one not at all.

    Args:
        ordinary_ids: to draw rows from.
        longest: tokens of the longest row.
        labels: whether the target is a label; else it is some ids.

    Raises:
        UnsupportedModelError: no shape fits ``longest``.
    """
    rng = np.random.default_rng(seed)
    items = []
    for before, width, after in _SHAPES:
        target_ids = 1 + width % 3
        if before + width + after + (0 if labels else target_ids - 1) > longest:
            continue
        current = rng.choice(ordinary_ids, size=width)
        candidates = np.repeat(current[None], width + 2, 0)
        for row, at in zip(candidates, (*range(width), 0), strict=False):
            row[at:] = np.where(rng.random(width - at) < 0.5, row[at:], rng.choice(ordinary_ids, size=width - at))
        target = 0 if labels else tuple(rng.choice(ordinary_ids, size=target_ids).tolist())
        ids_before, ids_after = (rng.choice(ordinary_ids, size=n) for n in (before, after))
        items.append(ScoreItem(ids_before, candidates, ids_after, target, current))
    if not items:
        raise UnsupportedModelError(f"rows of {longest} tokens are too short to check it")
    return items
