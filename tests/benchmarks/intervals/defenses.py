"""Simulated studies of defenses, of a known truth: compute to a target, rates, and slopes over sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from leaderboard.data.count_table import CountTable, make_count_table
from leaderboard.fit.attack_scaling import AttackScaling
from leaderboard.fit.efficiency import fit_efficiency
from leaderboard.fit.line import Line
from leaderboard.fit.offense_defense import fit_offense_defense
from leaderboard.fit.size_scaling import fit_size_scaling
from tests.benchmarks.intervals.tally import Tally

STEPS = 64
SLOPE, INTERCEPT = 0.8, -3.5


@dataclass(frozen=True)
class Balance:
    """log10 compute to the target is a line in log10 defense compute, plus a seed's shift, plus noise; attack budgets
    cut off what needs more.

    Attributes:
        never: share of pairs that the budget cuts off, about.
        normal: whether the noise is normal (else logistic, as the fit has it).
        lasting: correlation of the noise from round to round of a seed.
    """

    name: str
    seeds: int
    rounds: int
    never: float = 0.2
    spread: float = 0.15
    noise: float = 0.2
    normal: bool = True
    lasting: float = 0.0


BALANCES = [
    Balance("1 seed, 8 rounds", 1, 8, never=0.1, spread=0.0),
    Balance("1 seed, 20 rounds", 1, 20, spread=0.0),
    Balance("3 seeds, 10 rounds", 3, 10),
    Balance("5 seeds, 10 rounds", 5, 10),
    Balance("5 seeds, 10 rounds, half never broken", 5, 10, never=0.5),
    Balance("5 seeds, 10 rounds, logistic noise", 5, 10, normal=False),
    Balance("5 seeds, 20 rounds, noise that lasts", 5, 20, lasting=0.6),
]


def run_balance(study: Balance, rng: np.random.Generator, tally: Tally) -> None:
    """Simulate one study, fit it, and count what the intervals hold."""
    table = _balance(study, rng)
    (fit,), (least,) = (fit_offense_defense(table, 0.5, method) for method in ("censored", "ols"))
    if fit.line.slope is None:
        tally.refused += 1
        return
    tally.value("slope", fit.line.slope, fit.line.slope_ci, SLOPE)
    tally.value("intercept", fit.line.intercept, fit.line.intercept_ci, INTERCEPT)
    tally.value("ols", least.line.slope, least.line.slope_ci, SLOPE)


def _balance(study: Balance, rng: np.random.Generator) -> CountTable:
    x = np.linspace(-6, -4, study.rounds)
    line = INTERCEPT + SLOPE * x
    budget = np.quantile(line, 1 - study.never) if study.never else line.max() + 2
    grid = budget + np.log10(np.arange(1, STEPS + 1) / STEPS)
    parts = []
    for seed in range(study.seeds):
        noise = rng.normal(size=study.rounds) if study.normal else rng.logistic(0, np.sqrt(3) / np.pi, study.rounds)
        for at in range(1, study.rounds):
            noise[at] = study.lasting * noise[at - 1] + np.sqrt(1 - study.lasting**2) * noise[at]
        need = line + study.spread * rng.normal() + study.noise * noise
        for round_ in range(study.rounds):
            won = np.where(grid >= need[round_], 60, 10)
            parts.append((seed, round_ + 1, 10 ** x[round_], 10**grid, won))
    return _table(parts, 100)


@dataclass(frozen=True)
class Training:
    """Log-odds of success fall in log10 defense compute; seeds are shifted, and so is each training run.

    Attributes:
        jitter: standard deviation of a training run's log-odds, natural.
    """

    name: str
    seeds: int
    rounds: int
    examples: int
    slope: float = -1.0
    spread: float = 0.5
    jitter: float = 0.2


TRAININGS = [
    Training("1 seed, 10 rounds", 1, 10, 200, spread=0.0),
    Training("3 seeds, 8 rounds", 3, 8, 100),
    Training("5 seeds, 8 rounds", 5, 8, 100),
    Training("5 seeds, 8 rounds, few examples", 5, 8, 30, jitter=0.0),
]


def run_training(study: Training, rng: np.random.Generator, tally: Tally) -> None:
    """Simulate one study, fit it, and count what the intervals hold."""
    x = np.linspace(-6, -4, study.rounds)
    parts = []
    for seed in range(study.seeds):
        shift = study.spread * rng.normal()
        for round_ in range(study.rounds):
            odds = np.log(10) * (study.slope * x[round_] - 6.0) + shift + study.jitter * rng.normal()
            won = rng.binomial(study.examples, expit(odds), 1)
            parts.append((seed, round_ + 1, 10 ** x[round_], np.ones(1), won))
    table = _table(parts, study.examples)
    (fit,), (least,) = (fit_efficiency(table, "defense_compute", method) for method in ("counts", "ols"))
    if fit.line.slope is None:
        tally.refused += 1
        return
    tally.value("slope", fit.line.slope, fit.line.slope_ci, study.slope)
    tally.value("intercept", fit.line.intercept, fit.line.intercept_ci, -6.0)
    tally.value("ols", least.line.slope, least.line.slope_ci, study.slope)


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


@dataclass(frozen=True)
class Sizes:
    """Attack-scaling slopes fall in log10 parameters, with a scatter of their own and errors of different sizes."""

    name: str
    sizes: int
    scatter: float


SIZES = [Sizes("4 sizes", 4, 0.1), Sizes("10 sizes", 10, 0.15), Sizes("10 sizes, no scatter of their own", 10, 0.0)]


def run_sizes(study: Sizes, rng: np.random.Generator, tally: Tally) -> None:
    """Simulate the slopes and errors of one study's sizes, fit the line, and count what its interval holds."""
    sizes = np.geomspace(1e7, 1e10, study.sizes)
    errors = rng.uniform(0.03, 0.4, study.sizes)
    true = 4.0 - 0.3 * np.log10(sizes) + study.scatter * rng.normal(size=study.sizes)
    found = true + errors * rng.normal(size=study.sizes)
    fits: dict[str, list[AttackScaling]] = {"counts": [], "ols": []}
    for size, slope, error in zip(sizes, found, errors, strict=True):
        line = Line(float(slope), 0.0, (slope - 1.96 * error, slope + 1.96 * error), 100, "", (0.0, 0.0))
        for method, own in fits.items():
            own.append(AttackScaling({"n_params": round(size)}, method, line, 0, 5))  # type: ignore[arg-type]
    for name, method in (("slope", "counts"), ("ols", "ols")):
        (fit,) = fit_size_scaling(fits[method])
        tally.value(name, fit.line.slope, fit.line.slope_ci, -0.3)
