"""Whether a stack of defenses leaves more or less than the product of what its parts leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from leaderboard.arrays import Booleans, Floats, Integers
from leaderboard.fit.seed_spread import MAX_LEVEL_SD, half_interval_squared

REPLICATES = 2000


@dataclass(frozen=True)
class LogRatio:
    """ln(left by the stack / product of what the parts leave), with its 95% interval: below 0 the stack is stronger.
    Shares are smoothed by half a success and half a failure, so that an ASR of 0 has a logarithm.
    """

    value: float
    low: float
    high: float


def stack_log_ratio(broken: Sequence[Booleans], examples: Sequence[Sequence[str]]) -> LogRatio:
    """From what fell in S seeds.

    The interval is over examples (a bootstrap that draws them by name, with all seeds that attacked them) and, of two
    seeds or more, over seeds: where these differ more than that, it has the width of `half_interval_squared`.

    Args:
        broken: of each seed [E, cells], the cells being none, the parts, and the stack.
        examples: of each seed the names of its E examples.
    """
    rows, seeds = np.concatenate(broken).astype(np.float64), len(broken)
    total, cells = rows.shape
    value = float(_log_ratio(rows.sum(axis=0), total))
    unit = np.unique(np.concatenate([np.asarray(names) for names in examples]), return_inverse=True)[1]
    low, high = _bootstrap_over_examples(rows, unit)
    if seeds < 2:
        return LogRatio(value, low, high)
    smoothed = (rows.sum(axis=0) + 0.5) / (total + 1)
    weights = np.full(cells, -1.0)
    weights[0], weights[-1] = cells - 3, 1.0
    influence = (rows - rows.mean(axis=0)) / smoothed @ weights / total
    starts = np.cumsum([0, *(len(of_seed) for of_seed in broken[:-1])])
    of_seed = np.add.reduceat(influence, starts)
    examples_alone = float((influence**2).sum())
    shared = float((np.bincount(unit, influence) ** 2).sum()) - examples_alone
    largest = examples_alone + MAX_LEVEL_SD**2 * float(((weights * (1 - smoothed)) ** 2).sum()) / seeds
    between = float(of_seed @ of_seed) * seeds / (seeds - 1)
    square = half_interval_squared(np.array(between), np.array(examples_alone), np.array(largest), seeds, shared)
    half = float(square) ** 0.5
    return LogRatio(value, min(low, value - half), max(high, value + half))


def _log_ratio(successes: Floats, trials: Floats | float) -> Floats:
    """Of successes [..., cells] of trials [...]."""
    logs = np.log((successes + 0.5) / (np.asarray(trials)[..., None] + 1))
    found: Floats = logs[..., -1] - logs[..., 1:-1].sum(axis=-1) + (logs.shape[-1] - 3) * logs[..., 0]
    return found


def _bootstrap_over_examples(rows: Floats, unit: Integers) -> tuple[float, float]:
    """Percentile interval; ``unit``: of each row the number of its example. The same rows give the same draws."""
    sums = np.zeros((int(unit.max()) + 1, rows.shape[1] + 1))
    np.add.at(sums, unit, np.column_stack([rows, np.ones(len(rows))]))
    rng = np.random.default_rng(0)
    # Examples with the same outcomes are drawn together.
    outcomes, count = np.unique(sums, axis=0, return_counts=True)
    drawn = rng.multinomial(len(sums), count / len(sums), size=REPLICATES).astype(np.float64) @ outcomes
    low, high = np.quantile(_log_ratio(drawn[:, :-1], drawn[:, -1]), [0.025, 0.975])
    return float(low), float(high)
