"""Simulated seeds: rates that scatter about a mean, and curves that differ in level and slope."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit, ndtr

from leaderboard.arrays import Floats, Integers
from leaderboard.fit.compute_to_target import SeedCurves
from leaderboard.fit.pooled_rates import shared_example_variance

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
    """

    asr: float = 0.8
    level: float = 0.56
    tilt: float = 0.4
    slope: float = 2.0
    steps: int = 24
    alike: float = 0.0

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

    def first_steps(self, rng: np.random.Generator, seeds: int, examples: int) -> Integers:
        """The step, from 0, at which each example of each seed first falls, T for never; [S, E]."""
        shift, slope = self.level * rng.normal(size=seeds), self.slope * np.exp(self.tilt * rng.normal(size=seeds))
        hard = np.sqrt(self.alike) * rng.normal(size=examples)
        rank = ndtr(hard + np.sqrt(1 - self.alike) * rng.normal(size=(seeds, examples)))
        odds = self._log_odds(shift, slope)
        return np.stack([np.searchsorted(own, logit(each)) for own, each in zip(odds, rank, strict=True)])

    def successes(self, first: Integers) -> Floats:
        """[S, T], examples broken so far."""
        return np.stack([np.bincount(own, minlength=self.steps + 1)[:-1].cumsum() for own in first]).astype(np.float64)

    def draw(self, rng: np.random.Generator, seeds: int, examples: int) -> SeedCurves:
        """One simulated attack, as the standings have it."""
        first = self.first_steps(rng, seeds, examples)
        shared: float | Floats = 0.0
        if self.alike and seeds > 1:
            broken = first[..., None] <= np.arange(self.steps)
            shared = shared_example_variance([[str(at) for at in range(examples)]] * seeds, list(broken))
        return SeedCurves(self.successes(first), np.full(seeds, float(examples)), self.compute, shared)
