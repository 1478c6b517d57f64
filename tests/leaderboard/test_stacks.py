"""Whether a stack does more or less than its parts, from made-up records whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from leaderboard.stacks import _log_ratio


def broken(*, none: float, parts: tuple[float, ...], stack: float, n: int = 400) -> np.ndarray:
    """Independent columns of so many examples, [1, n, cells]."""
    rng = np.random.default_rng(0)
    return np.stack([rng.random(n) < p for p in (none, *parts, stack)], axis=1)[None]


@pytest.mark.parametrize("parts", [(0.4, 0.5), (0.6, 0.5, 0.5)])
def test_the_log_ratio_is_zero_where_the_parts_multiply(parts: tuple[float, ...]) -> None:
    none = 0.8
    product = none * float(np.prod([p / none for p in parts]))
    for factor in (1.0, 0.25, 2.0):
        ratio = _log_ratio(broken(none=none, parts=parts, stack=min(1.0, factor * product), n=200_000))[0]
        assert ratio == pytest.approx(np.log(factor), abs=0.05)


def test_a_stack_that_is_never_broken_has_a_ratio_too() -> None:
    ratio = _log_ratio(broken(none=1.0, parts=(0.5, 0.5), stack=0.0, n=50))[0]
    assert np.isfinite(ratio)
    assert ratio < -1
