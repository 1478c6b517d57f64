"""Simulated studies of defenses, of a known truth: compute to a target, and rates, over rounds of training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from leaderboard.arrays import Floats
from leaderboard.data.count_table import CountTable, make_count_table
from leaderboard.fit.defense_efficiency import fit_efficiency
from leaderboard.fit.offense_defense import fit_offense_defense
from tests.benchmarks.intervals.designs import Figures, Tally, counted
from tests.benchmarks.intervals.rates_and_costs import MANY, SEEDS

STEPS = 64
FIRST, LAST = -6.0, -4.0  # log10 defense compute of the first and the last round
SLOPE, INTERCEPT = 0.8, -3.5


@dataclass(frozen=True)
class Balance:
    """log10 compute to the target is one line, or two that meet, in log10 defense compute; attack budgets cut off what
    needs more.

    Attributes:
        spread: standard deviation between seeds of log10 compute to the target, at the bend.
        tilt: the same of the logarithm of the slope.
        slopes: of the typical seed, before and after the bend.
        at: where the bend is, as a share of the way from the first to the last round.
        never: share of pairs that the budget cuts off, about.
        noise: standard deviation of a round.
        normal: whether the noise is normal (else logistic, as the fit has it).
        lasting: correlation of the noise from round to round of a seed.
    """

    seeds: int
    rounds: int
    spread: float = 0.15
    tilt: float = 0.15
    slopes: tuple[float, float] = (SLOPE, SLOPE)
    at: float = 0.5
    never: float = 0.2
    noise: float = 0.2
    normal: bool = True
    lasting: float = 0.0

    @property
    def name(self) -> str:
        """As the table has it."""
        first, last = self.slopes
        slopes = f"slope {first:g}" + f" then {last:g}" * (first != last) + " late" * (self.at > 0.5)
        more = f", noise that lasts ({self.lasting:g})" * (self.lasting > 0) + ", logistic noise" * (not self.normal)
        more += f", {self.never:.0%} never broken" * (self.never != 0.2)
        return f"{counted(self.seeds)} × {self.rounds}, {slopes}, differ by {self.spread:g} and {self.tilt:g}{more}"

    def measure(self, rng: np.random.Generator, studies: int) -> Figures:
        """Simulate and fit so many studies."""
        tally, x = Tally(), np.linspace(FIRST, LAST, self.rounds)
        places = x[[0, self.rounds // 2, -1]]
        fitted = bent = by_interval = below = 0
        for _ in range(studies):
            table, own = self.simulate_with_truth(rng)
            # Of one seed the interval is for this model only.
            factor, shift = own[0] if self.seeds == 1 else (1.0, 0.0)
            slope, truth = factor * self.slopes[0], self.line(places, factor) + shift
            (fit,), (least,) = (fit_offense_defense(table, 0.5, method) for method in ("censored", "ols"))
            if fit.line.slope_ci is None:
                tally.refused += 1
                continue
            fitted += 1
            bent += not fit.line_fits
            by_interval += fit.line.slope_ci[1] < 1
            below += fit.against_slope_1 == "below"
            tally.value("slope", fit.line.slope, fit.line.slope_ci, slope)
            tally.value("ols", least.line.slope, least.line.slope_ci, slope)
            for middle, low, high, right in zip(*(np.log10(part) for part in fit.band(10**places)), truth, strict=True):
                tally.value("band", middle, (low, high), right)
        straight = self.slopes[0] == self.slopes[1]
        figures = tally.figures(["slope", "band"]) | {"ols: slope held": tally.coverage("ols")}
        if not straight:  # then there is no one slope
            figures |= dict.fromkeys(("slope held", "slope: bias", "slope: width", "ols: slope held"), float("nan"))
        return figures | {
            "said to be bent": bent / fitted,
            "below 1 by the interval alone": by_interval / fitted,
            "said to be below 1": below / fitted,
        }

    def line(self, x: Floats, factor: float) -> Floats:
        """log10 compute to the target of a seed whose slopes are ``factor`` times the typical ones."""
        turn = FIRST + (LAST - FIRST) * self.at
        level = INTERCEPT + SLOPE * turn
        found: Floats = level + factor * np.where(x < turn, *self.slopes) * (x - turn)
        return found

    def simulate(self, rng: np.random.Generator) -> CountTable:
        """One study's table."""
        return self.simulate_with_truth(rng)[0]

    def simulate_with_truth(self, rng: np.random.Generator) -> tuple[CountTable, list[tuple[float, float]]]:
        """The same, with each seed's slope as a share of the typical one, and its shift."""
        x = np.linspace(FIRST, LAST, self.rounds)
        typical = self.line(x, 1.0)
        budget = np.quantile(typical, 1 - self.never) if self.never else typical.max() + 2
        grid = budget + np.log10(np.arange(1, STEPS + 1) / STEPS)
        parts, own = [], []
        for seed in range(self.seeds):
            noise = rng.normal(size=self.rounds) if self.normal else rng.logistic(0, np.sqrt(3) / np.pi, self.rounds)
            for at in range(1, self.rounds):
                noise[at] = self.lasting * noise[at - 1] + np.sqrt(1 - self.lasting**2) * noise[at]
            own.append((float(np.exp(self.tilt * rng.normal())), float(self.spread * rng.normal())))
            need = self.line(x, own[-1][0]) + own[-1][1] + self.noise * noise
            for round_ in range(self.rounds):
                won = np.where(grid >= need[round_], 60, 10)
                parts.append((seed, round_ + 1, 10 ** x[round_], 10**grid, won))
        return _table(parts, 100), own


BALANCES = [Balance(*shape) for shape in ((1, 10), (2, 5), (2, 10), (3, 5), (3, 10), (5, 10), (10, 8))]
BALANCES += [Balance(*shape, tilt=0.3) for shape in ((2, 10), (3, 10), (5, 10), (10, 8))]
BALANCES += [Balance(seeds, 10, spread=0.3) for seeds in MANY]
BALANCES += [
    Balance(seeds, rounds, slopes=slopes, at=at, tilt=0.0)
    for slopes, at in (((0.4, 1.2), 0.5), ((1.2, 0.4), 0.5), ((0.6, 1.4), 0.75), ((0.5, 0.5), 0.5), ((1.0, 1.0), 0.5))
    for seeds, rounds in ((1, 8), (3, 10), (5, 10))
]
BALANCES += [
    Balance(5, 10, never=0.5),
    Balance(5, 10, normal=False),
    Balance(1, 20, tilt=0.0, lasting=0.6),
    Balance(5, 20, tilt=0.0, lasting=0.6),
]


@dataclass(frozen=True)
class Training:
    """Log-odds of success fall in log10 defense compute; seeds differ in level and slope, and training runs scatter.

    Attributes:
        spread: standard deviation between seeds of the log-odds (natural) in the middle.
        tilt: the same of the logarithm of the slope.
        jitter: standard deviation of a training run's log-odds, natural.
    """

    seeds: int
    rounds: int
    examples: int
    slope: float = -1.0
    spread: float = 0.56
    tilt: float = 0.3
    jitter: float = 0.2

    @property
    def name(self) -> str:
        """As the table has it."""
        shape = f"{counted(self.seeds)} × {self.rounds} rounds × {self.examples}"
        return f"{shape}, differ by {self.spread:g} and {self.tilt:g}"

    def measure(self, rng: np.random.Generator, studies: int) -> Figures:
        """Simulate and fit so many studies."""
        tally, places = Tally(), np.linspace(FIRST, LAST, 3)
        bent = fitted = 0
        for _ in range(studies):
            table, slopes, shifts = self.simulate(rng)
            (fit,), (least,) = (fit_efficiency(table, "defense_compute", method) for method in ("counts", "ols"))
            if fit.line.slope is None:
                tally.refused += 1
                continue
            fitted += 1
            bent += fit.straightness is not None and fit.straightness.is_bent
            alone = self.seeds == 1  # then the interval is for this model only
            slope, shift = (slopes[0], shifts[0]) if alone else (self.slope, 0.0)
            tally.value("slope", fit.line.slope, fit.line.slope_ci, slope)
            tally.value("ols", least.line.slope, least.line.slope_ci, slope)
            truth = expit(_log_odds(places, slope, shift))
            for middle, low, high, right in zip(*fit.band(10**places), truth, strict=True):
                tally.value("band", middle, (low, high), right)
        figures = tally.figures(["slope", "band"]) | {"ols: slope held": tally.coverage("ols")}
        return figures | {"said to be bent": bent / max(fitted, 1)}

    def simulate(self, rng: np.random.Generator) -> tuple[CountTable, list[float], list[float]]:
        """One study's table, and each seed's own slope and shift."""
        x = np.linspace(FIRST, LAST, self.rounds)
        parts, slopes, shifts = [], [], []
        for seed in range(self.seeds):
            slopes.append(float(self.slope * np.exp(self.tilt * rng.normal())))
            shifts.append(float(self.spread * rng.normal()))
            for round_ in range(self.rounds):
                odds = float(_log_odds(x[round_], slopes[-1], shifts[-1])) + self.jitter * rng.normal()
                won = rng.binomial(self.examples, expit(odds), 1)
                parts.append((seed, round_ + 1, 10 ** x[round_], np.ones(1), won))
        return _table(parts, self.examples), slopes, shifts


def _log_odds(x: Floats, slope: float, shift: float) -> Floats:
    middle = (FIRST + LAST) / 2
    return np.asarray(np.log(10) * (slope * (x - middle) - 1.0) + shift)


TRAININGS = [Training(seeds, 8, examples) for seeds in SEEDS for examples in (32, 100)]
TRAININGS += [Training(seeds, 8, 100, tilt=0.0) for seeds in SEEDS] + [Training(s, 8, 32, spread=1.0) for s in MANY]
TRAININGS += [Training(5, 8, 30, tilt=0.0, jitter=0.0)]


def _table(parts: list[tuple[int, int, float, np.ndarray, np.ndarray]], examples: int) -> CountTable:
    steps = len(parts[0][3])
    rows = steps * len(parts)
    columns = {name: np.full(rows, name, dtype=object) for name in ("task", "family", "attack")}
    columns |= {"n_params": np.full(rows, 10**6), "trials": np.full(rows, examples)}
    columns |= {"iteration": np.tile(np.arange(1, steps + 1), len(parts))}
    for at, name in enumerate(("seed", "round", "defense_compute")):
        columns[name] = np.repeat(np.array([part[at] for part in parts]), steps)
    columns |= {"attack_compute": np.concatenate([part[3] for part in parts])}
    columns |= {"successes": np.concatenate([part[4] for part in parts])}
    return make_count_table("simulated", columns)
