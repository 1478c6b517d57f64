"""Self-check of a loaded model: what the backend answers against an eager forward, row by row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from harness.engine.torch.arrays import nan_error
from harness.engine.torch.attention_switch import EAGER, switch_attention
from harness.engine.torch.devices import precision_mend
from harness.engine.torch.self_check.tolerance import (
    FIXED_TOLERANCES,
    allowed_difference,
    measure_rounding,
    relative_difference,
)
from harness.errors import VictimError
from harness.tokens.tokenizer import Floats, Tokens

_LENGTHS = (4, 9, 33)


@dataclass(frozen=True, slots=True)
class SelfCheck:
    """Outcome of the check.

    Attributes:
        rows: random rows compared.
        difference: largest absolute difference of a label logit, divided by the largest logit where that is above 1.
        tolerance: what was allowed.
        rounding: how far eager answers in half precision are from float32, likewise; None in full precision or where
            that could not be measured.
        attention: implementation in use after the check.
        note: why another one than the model had, or "".
    """

    rows: int
    difference: float
    tolerance: float
    attention: str
    note: str = ""
    rounding: float | None = None

    def to_json(self) -> dict[str, object]:
        """Plain data for the manifest."""
        return asdict(self)


def check_backend(
    model: Any, classify: Callable[[list[Tokens]], Floats], ordinary_ids: Tokens, context: int
) -> SelfCheck:
    """Compare ``classify`` with eager attention on a few random rows; fall back to eager where the fused one is wrong.

    Args:
        model: its attention implementation may be changed (some fused kernels ignore soft-capping).
        classify: label logits [n, labels] of n rows, as the backend gives them.
        ordinary_ids: to draw rows from.
        context: longest row in tokens.

    Raises:
        VictimError: logits that are not finite, or a difference above the tolerance even with eager attention
            throughout.
    """
    rng = np.random.default_rng(0)
    rows = [rng.choice(ordinary_ids, size=min(n, context)).astype(np.int64) for n in _LENGTHS for _ in range(2)]
    attention = str(model.config._attn_implementation)
    ours = classify(rows)
    if not switch_attention(model, EAGER):
        note = "the model has no eager attention to compare with"
        return SelfCheck(len(rows), 0.0, FIXED_TOLERANCES[model.dtype], attention, note)
    one_by_one = np.concatenate([classify([row]) for row in rows])
    if not np.isfinite(one_by_one).all():
        raise nan_error("on random rows the model's logits are not finite", model)
    rounding = measure_rounding(model, lambda: classify(rows), relative_difference)
    tolerance = allowed_difference(model.dtype, rounding)
    difference = relative_difference(ours, one_by_one)
    if difference <= tolerance:
        switch_attention(model, attention)
        return SelfCheck(len(rows), difference, tolerance, attention, "", rounding)
    note = (
        f"{attention} attention differs from eager by {difference:.2g} (tolerance {tolerance:g}): using eager attention"
    )
    difference = relative_difference(classify(rows), one_by_one)
    tolerance = max(tolerance, FIXED_TOLERANCES[model.dtype])  # to go on with eager attention, or not at all
    if difference <= tolerance:
        return SelfCheck(len(rows), difference, tolerance, EAGER, note, rounding)
    raise VictimError(
        f"the model's answers depend on which rows share a forward: they differ by {difference:.2g} from single rows "
        f"(tolerance {tolerance:g}); {precision_mend(model)}"
    )
