"""Where a success curve first reaches a target."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def first_reach(compute: Floats, asr: Floats, target: float) -> Floats:
    """Compute at which each curve first reaches ``target``; ``inf`` where it never does.

    Linear interpolation between iterations, in compute (not its logarithm): the method of "Scaling Trends in Language
    Model Robustness" (arXiv 2407.18213). Every curve starts at no compute and no success: only examples that are right
    before the attack are attacked.

    Args:
        compute: [..., T], cumulative, not falling along the last axis, in any unit.
        asr: [..., T], attack success rate in [0, 1].
        target: above 0, at most 1.
    """
    if compute.shape[-1] == 0:
        return np.full(compute.shape[:-1], np.inf)
    hit = asr >= target
    at = hit.argmax(axis=-1)[..., None]
    start = np.zeros((*compute.shape[:-1], 1))
    x, y = np.concatenate([start, compute], axis=-1), np.concatenate([start, asr], axis=-1)
    # In the padded arrays the point before the crossing has index `at`, the crossing itself `at + 1`.
    x0, x1 = np.take_along_axis(x, at, -1), np.take_along_axis(x, at + 1, -1)
    y0, y1 = np.take_along_axis(y, at, -1), np.take_along_axis(y, at + 1, -1)
    reached = hit.any(axis=-1)
    rise = np.where(y1 > y0, y1 - y0, 1.0)
    found = (x0 + (target - y0) / rise * (x1 - x0))[..., 0]
    return np.where(reached, found, np.inf)


def reached_between(compute: Floats, asr: Floats, target: float) -> tuple[float, float]:
    """Between which two amounts of compute one curve first reaches ``target``: above the first, with the second. The
    second is ``inf`` where it never does, and the first then all that was spent.

    Args:
        compute: [T], cumulative.
        asr: [T].
        target: above 0, at most 1.
    """
    hit = asr >= target
    if not hit.any():
        return (float(compute[-1]) if len(compute) else 0.0), float("inf")
    enough = float(compute[hit.argmax()])
    less = compute[: hit.argmax()]
    return float(less[less < enough].max(initial=0.0)), enough
