"""Simulated seeds: rates that scatter about a mean, and curves that differ in level and slope."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit, ndtr

from leaderboard.arrays import Floats, Integers
from leaderboard.fit.compute_to_target import SeedCurves, curves_of_seeds

LN10 = float(np.log(10.0))
_PLACES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(61)
_SHARES = _WEIGHTS / _WEIGHTS.sum()


@cache
def typical_log_odds(mean: float, level: float) -> float:
    """Log-odds of the typical seed where seeds, normal with standard deviation ``level``, have ``mean`` on average."""
    return float(brentq(lambda at: float(_SHARES @ expit(at + level * _PLACES)) - mean, -30, 30))


def seed_rates(rng: np.random.Generator, shape: tuple[int, ...], mean: float, level: float) -> Floats:
    """Rates of random seeds."""
    return np.asarray(expit(typical_log_odds(mean, level) + level * rng.normal(size=shape)))


@dataclass(frozen=True)
class Seeds:
    """Curves of an attack over T equal steps, log-odds linear in the logarithm of compute.

    Attributes:
        asr: of the typical seed at the full budget, which is 1.
        level: standard deviation between seeds of the log-odds (natural) at half of the budget.
        tilt: of the logarithm of the slope.
        slope: of the typical seed, decades of odds per decade of compute.
        alike: correlation over seeds of how hard an example is; 0: other examples in each seed.
        stops: whether an example's search stops when it succeeds, so that compute depends on success.
    """

    asr: float = 0.8
    level: float = 0.56
    tilt: float = 0.4
    slope: float = 2.0
    steps: int = 24
    alike: float = 0.0
    stops: bool = False

    @property
    def compute(self) -> Floats:
        """[T]."""
        return np.arange(1, self.steps + 1) / self.steps

    def _log_odds(self, shift: Floats, slope: Floats) -> Floats:
        far = np.log10(self.compute / 0.5)
        return np.asarray(
            logit(self.asr) - LN10 * self.slope * np.log10(2) + shift[..., None] + LN10 * slope[..., None] * far
        )

    def mean(self) -> Floats:
        """ASR of all seeds on average, [T]."""
        shift, slope = np.broadcast_arrays(self.level * _PLACES[:, None], self.slope * np.exp(self.tilt * _PLACES))
        return np.asarray(np.einsum("i,j,ijt->t", _SHARES, _SHARES, expit(self._log_odds(shift, slope))))

    def mean_compute(self) -> Floats:
        """Spent so far by all examples on average, [T]."""
        if not self.stops:
            return self.compute
        searching = 1 - np.append(0.0, self.mean()[:-1])
        return np.asarray(np.cumsum(searching) / self.steps)

    def first_steps(
        self,
        rng: np.random.Generator,
        seeds: int,
        examples: int,
        luck: Floats | None = None,
        hard: Floats | None = None,
    ) -> Integers:
        """The step, from 0, at which each example of each seed first falls, T for never; [S, E].

        Args:
            luck: the seeds' standard normal deviations in level and in slope, [2, S]; drawn when None.
            hard: the examples' standard normal deviations, [E]; drawn when None.
        """
        deviations = rng.normal(size=(2, seeds)) if luck is None else luck
        shift, slope = self.level * deviations[0], self.slope * np.exp(self.tilt * deviations[1])
        hard = rng.normal(size=examples) if hard is None else hard
        rank = ndtr(np.sqrt(self.alike) * hard + np.sqrt(1 - self.alike) * rng.normal(size=(seeds, examples)))
        odds = self._log_odds(shift, slope)
        return np.stack([np.searchsorted(own, logit(each)) for own, each in zip(odds, rank, strict=True)])

    def draw(self, rng: np.random.Generator, seeds: int, examples: int, luck: Floats | None = None) -> SeedCurves:
        """One simulated attack, as the standings have it; ``luck``: see `first_steps`."""
        first = self.first_steps(rng, seeds, examples, luck)
        names = [[f"{0 if self.alike else seed} {at}" for at in range(examples)] for seed in range(seeds)]
        steps = np.arange(self.steps)
        spent = (
            np.minimum(first[..., None], steps) if self.stops else np.broadcast_to(steps, (*first.shape, len(steps)))
        )
        return curves_of_seeds(names, list(first[..., None] <= steps), list((spent + 1.0) / self.steps))
