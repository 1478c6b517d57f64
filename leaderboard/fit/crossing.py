"""Where a success curve first reaches a target."""

from __future__ import annotations

import numpy as np

from leaderboard.arrays import Floats


def first_crossing(compute: Floats, asr: Floats, target: float) -> Floats:
    """Compute at which each curve first reaches ``target``; ``inf`` where it never does.

    Linear interpolation between iterations, in compute (not its logarithm): the method of "Scaling Trends in Language
    Model Robustness" (arXiv 2407.18213). Every curve starts at no compute and no success: only examples that are right
    before the attack are attacked.

    Args:
        compute: [..., T], cumulative, not falling along the last axis, in any unit.
        asr: [..., T], attack success rate in [0, 1]; it may fall again, so that np.interp would not do.
        target: above 0, at most 1.
    """
    if compute.shape[-1] == 0:
        return np.full(compute.shape[:-1], np.inf)
    reached = asr >= target
    first = reached.argmax(axis=-1)[..., None]
    start = np.zeros((*compute.shape[:-1], 1))
    x, y = np.concatenate([start, compute], axis=-1), np.concatenate([start, asr], axis=-1)
    # In the padded arrays the point before the crossing has index `first`, the crossing itself `first + 1`.
    x0, x1 = np.take_along_axis(x, first, -1), np.take_along_axis(x, first + 1, -1)
    y0, y1 = np.take_along_axis(y, first, -1), np.take_along_axis(y, first + 1, -1)
    return np.where(reached.any(axis=-1), interpolated_crossing(x0, x1, y0, y1, target)[..., 0], np.inf)


def interpolated_crossing(x0: Floats, x1: Floats, y0: Floats, y1: Floats, target: float) -> Floats:
    """Where the lines from (x0, y0) to (x1, y1) reach ``target``; element by element."""
    rise = np.where(y1 > y0, y1 - y0, 1.0)
    crossing: Floats = x0 + (target - y0) / rise * (x1 - x0)
    return crossing


def crossing_bounds(compute: Floats, asr: Floats, target: float) -> tuple[float, float]:
    """Between which two amounts of compute one curve first reaches ``target``: above the first, with the second. The
    second is ``inf`` where it never does, and the first then all that was spent.

    Args:
        compute: [T], cumulative.
        asr: [T].
        target: above 0, at most 1.
    """
    reached = asr >= target
    if not reached.any():
        return (float(compute[-1]) if len(compute) else 0.0), float("inf")
    high = float(compute[reached.argmax()])
    before = compute[: reached.argmax()]
    return float(before[before < high].max(initial=0.0)), high
