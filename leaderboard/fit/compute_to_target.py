"""The compute at which attacks reach a target ASR: an estimate, and the interval where the ASR may be the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from leaderboard.arrays import Floats
from leaderboard.fit.crossing import first_crossing
from leaderboard.fit.pooled_rates import rate_bounds
from leaderboard.fit.seed_spread import UPPER


@dataclass(frozen=True)
class SeedCurves:
    """One attack's curves over T steps in each of S seeds.

    Attributes:
        successes: [S, T], examples broken so far.
        trials: [S], examples attacked, above 0.
        compute: [T], spent so far, mean per attacked example, any unit; never falls.
        shared: [T], see `shared_example_variance`.
    """

    successes: Floats
    trials: Floats
    compute: Floats
    shared: Floats | float = 0.0

    @property
    def asr(self) -> Floats:
        """[T], seeds pooled."""
        asr: Floats = self.successes.sum(axis=0) / self.trials.sum()
        return asr

    def bounds(self, level: float = UPPER) -> tuple[Floats, Floats]:
        """(low [T], high [T]) of the ASR, see `rate_bounds`."""
        return rate_bounds(self.successes, self.trials, self.shared, level)


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
