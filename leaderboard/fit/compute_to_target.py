"""The compute at which attacks reach a target ASR: an estimate, and the interval where the ASR may be the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from leaderboard.arrays import Booleans, Floats
from leaderboard.fit.crossing import first_crossing
from leaderboard.fit.pooled_rates import rate_bounds, shared_example_variance
from leaderboard.fit.seed_spread import UPPER

NEAR = 1.25  # from how near a curve's rise at some compute is told


@dataclass(frozen=True)
class SeedCurves:
    """One attack's curves over T steps in each of S seeds.

    Attributes:
        successes: [S, T], examples broken so far.
        trials: [S], examples attacked, above 0.
        compute: [T], spent so far, mean per attacked example, any unit; never falls.
        shared: [T], see `shared_example_variance`.
        deviations: [S, T], and ``noise`` [T], see `curves_of_seeds` and `rate_bounds`.
    """

    successes: Floats
    trials: Floats
    compute: Floats
    shared: Floats | float = 0.0
    deviations: Floats | None = None
    noise: Floats | float = 1.0

    @property
    def asr(self) -> Floats:
        """[T], seeds pooled."""
        asr: Floats = self.successes.sum(axis=0) / self.trials.sum()
        return asr

    def bounds(self, level: float = UPPER) -> tuple[Floats, Floats]:
        """(low [T], high [T]) of the ASR at the mean compute of each step, see `rate_bounds`."""
        return rate_bounds(self.successes, self.trials, self.shared, level, self.deviations, self.noise)


def curves_of_seeds(
    examples: Sequence[Sequence[str]], broken: Sequence[Booleans], spent: Sequence[Floats]
) -> SeedCurves:
    """The curves of S seeds, from each seed's examples: their names [E], whether each is ``broken`` so far [E, T], and
    compute ``spent`` so far [E, T].

    Seeds and examples that are hard to break may spend more: where searches stop at success both the ASR and the
    compute at a step are off in the direction that makes breaking look dearer. So each example's share in the
    uncertainty is that of the curve at given compute: its success, less the curve's rise times its compute.
    """
    trials = np.array([len(names) for names in examples], dtype=np.float64)
    total = float(trials.sum())
    successes = np.stack([of_seed.sum(axis=0, dtype=np.float64) for of_seed in broken])
    compute: Floats = np.sum([of_seed.sum(axis=0) for of_seed in spent], axis=0) / total
    asr = successes.sum(axis=0) / total
    if np.isnan(compute).any() or all(np.allclose(of_seed, compute, rtol=1e-9, atol=0.0) for of_seed in spent):
        return SeedCurves(successes, trials, compute, shared_example_variance(examples, broken))
    rise = _rise(compute, asr)
    outcomes = [won - rise * paid for won, paid in zip(broken, spent, strict=True)]
    mean = asr - rise * compute
    deviations = np.stack([(outcome - mean).sum(axis=0) for outcome in outcomes])
    of_success, of_outcome = (
        np.sum([((values - values.mean(axis=0)) ** 2).sum(axis=0) for values in each], axis=0)
        for each in (broken, outcomes)
    )
    noise = np.where(of_success > 0, of_outcome / np.where(of_success > 0, of_success, 1.0), 1.0)
    shared = shared_example_variance(examples, outcomes)
    return SeedCurves(successes, trials, compute, shared, deviations, np.maximum(noise, 1.0))


def _rise(compute: Floats, asr: Floats) -> Floats:
    """By how much the ASR rises per compute, [T]: the chord from a `NEAR`th of each amount to `NEAR` times it."""
    places, values = np.append(0.0, compute), np.append(0.0, asr)
    ends = [np.clip(compute * factor, 0.0, compute[-1]) for factor in (1 / NEAR, NEAR)]
    width = ends[1] - ends[0]
    height = np.interp(ends[1], places, values) - np.interp(ends[0], places, values)
    found: Floats = np.where(width > 0, height / np.where(width > 0, width, 1.0), 0.0)
    return found


def compute_to_target(curves: Sequence[SeedCurves], target: float) -> tuple[float, float, float]:
    """The compute at which the cheapest of K attacks reaches ``target``, and its 95% interval (low, high): an amount
    belongs to it where the ASR may be the target. inf: never, or no upper end within the budget.

    The more attacks, the likelier one of them looks cheap by chance: at the upper end each has 1/K of the error.
    """
    upper_level = 1 - (1 - UPPER) / len(curves)
    at = min(float(first_crossing(curve.compute, curve.asr, target)) for curve in curves)
    low = min(float(first_crossing(curve.compute, curve.bounds()[1], target)) for curve in curves)
    high = min(float(first_crossing(curve.compute, curve.bounds(upper_level)[0], target)) for curve in curves)
    return at, low, high
