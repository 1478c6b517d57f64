"""Simulated attack-scaling studies of a known truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logit, ndtr

from leaderboard.data.count_table import CountTable, make_count_table
from leaderboard.data.trajectories import Trajectories
from leaderboard.fit.attack_scaling import AttackScaling, fit_attack_scaling, fit_first_successes
from leaderboard.fit.likelihood.first_successes import first_successes_of_trajectories
from tests.benchmarks.intervals.designs import Figures, Tally, counted
from tests.benchmarks.intervals.rates_and_costs import MANY, SEEDS

REFERENCE = 1e15  # FLOPs; a whole budget is one thousandth of it
BUDGET = 1e12


@dataclass(frozen=True)
class Study:
    """A design. In every seed the first-success compute of a random example follows the model exactly.

    Attributes:
        asr: at the full budget, of a typical seed.
        slope: of the typical seed, decades of odds per decade of compute; ``slope_spread`` is the standard deviation
            over seeds of its logarithm.
        spread: standard deviation over seeds of the log-odds, in decades (0.24 are 0.56 natural units).
        alike: correlation over seeds of how hard an example is (0: other examples in each seed).
        asymptote: the ASR at which the curve saturates.
        form: records (each example's own compute, known by name), counts (a table), or at_step: counts of successes
            that each step has from the one before with probability ``kept``, and else again.
        what: for its name.
    """

    seeds: int
    examples: int
    steps: int
    asr: float
    slope: float = 2.0
    slope_spread: float = 0.1
    spread: float = 0.2
    alike: float = 0.0
    asymptote: float = 1.0
    form: str = "counts"
    kept: float = 1.0
    what: str = ""

    @property
    def intercept(self) -> float:
        """At the reference compute."""
        at_budget = logit(self.asr / self.asymptote) / np.log(10)
        return float(at_budget - self.slope * np.log10(BUDGET / REFERENCE))

    @property
    def name(self) -> str:
        """As the table has it."""
        more = f", {self.what}" if self.what else ""
        return (
            f"{counted(self.seeds)} × {self.examples}, ASR {self.asr:g}, differ by {self.spread:g} and "
            f"{self.slope_spread:g}{more}"
        )

    def measure(self, rng: np.random.Generator, studies: int) -> Figures:
        """Simulate and fit so many studies."""
        tally = Tally()
        for _ in range(studies):
            _fit_one(self, rng, tally)
        figures = tally.figures(["slope", "intercept", "ASR", "ASR at full budget"])
        return figures | {"ols: slope held": tally.coverage("ols"), "ols: slope: bias": tally.bias("ols")}


def fit_study(study: Study, rng: np.random.Generator) -> AttackScaling:
    """The fit to one simulated study."""
    table, cells, *_ = simulate(study, rng)
    return _fit(study, table, cells)


def _fit(study: Study, table: CountTable, cells: list[Trajectories]) -> AttackScaling:
    if study.form == "records":
        return fit_first_successes({}, first_successes_of_trajectories([(paths, REFERENCE) for paths in cells]))
    (fit,) = fit_attack_scaling(table, "counts")
    return fit


def _fit_one(study: Study, rng: np.random.Generator, tally: Tally) -> None:
    table, cells, slopes, intercepts = simulate(study, rng)
    fit = _fit(study, table, cells)
    (least,) = fit_attack_scaling(table, "ols")
    if fit.line.slope is None:
        tally.refused += 1
        return
    alone = study.seeds == 1  # then the interval is for this model only
    slope, intercept = (slopes[0], intercepts[0]) if alone else (study.slope, study.intercept)
    tally.value("slope", fit.line.slope, fit.line.slope_ci, slope)
    tally.value("intercept", fit.line.intercept, fit.line.intercept_ci, intercept)
    tally.value("ols", least.line.slope, least.line.slope_ci, slope)
    for name, share in (("ASR", 0.4), ("ASR at full budget", 1.0)):
        place = share * BUDGET / REFERENCE
        asr = study.asymptote / (1 + 10 ** -(intercept + slope * np.log10(place)))
        middle, low, high = (float(part[0]) for part in fit.band(np.array([place])))
        tally.value(name, middle, (low, high), asr)


def simulate(study: Study, rng: np.random.Generator) -> tuple[CountTable, list[Trajectories], list[float], list[float]]:
    """The study's table and records, and each seed's own slope and intercept."""
    grid = np.log10(np.arange(1, study.steps + 1) / study.steps * BUDGET)
    shared = rng.normal(size=study.examples)
    # Examples of different lengths cost different amounts a step; the table has their mean.
    dear = rng.normal(0, 0.1, study.examples) if study.form == "records" else np.zeros(study.examples)
    tables, cells, slopes, intercepts = [], [], [], []
    for seed in range(study.seeds):
        slope = study.slope * np.exp(study.slope_spread * rng.normal())
        # Seeds differ in level where the data are, and there in proportion to nothing else.
        middle = grid[len(grid) // 2] - np.log10(REFERENCE)
        intercept = study.intercept + study.spread * rng.normal() + (study.slope - slope) * middle
        mixed = np.sqrt(study.alike) * shared + np.sqrt(1 - study.alike) * rng.normal(size=study.examples)
        share = ndtr(mixed) / study.asymptote
        with np.errstate(divide="ignore", invalid="ignore"):
            need = np.where(share < 1, (logit(np.minimum(share, 1)) / np.log(10) - intercept) / slope, np.inf)
        spent = 10 ** (grid + dear[:, None])
        won = spent >= 10 ** (need[:, None] + np.log10(REFERENCE))
        if study.form == "at_step":
            # Some steps forget the one before, with the same odds.
            odds = intercept + slope * np.log10(spent / REFERENCE)
            anew = rng.random(won.shape) < study.asymptote / (1 + 10**-odds)
            won = np.where(rng.random(won.shape) < study.kept, won, anew)
        names = tuple(f"{0 if study.alike else seed} {at:04d}" for at in range(study.examples))
        cells.append(Trajectories(names, won, spent, spent))
        tables.append((seed, won.sum(axis=0), spent.mean(axis=0) / REFERENCE))
        slopes.append(float(slope))
        intercepts.append(float(intercept))
    return _table(tables, study.examples), cells, slopes, intercepts


def _table(parts: list[tuple[int, np.ndarray, np.ndarray]], examples: int) -> CountTable:
    steps = len(parts[0][1])
    rows = steps * len(parts)
    text = {name: np.full(rows, name, dtype=object) for name in ("task", "family", "attack")}
    numbers = {"n_params": np.full(rows, 10**6), "trials": np.full(rows, examples)}
    return make_count_table(
        "simulated",
        text
        | numbers
        | {
            "seed": np.repeat([seed for seed, _, _ in parts], steps),
            "iteration": np.tile(np.arange(1, steps + 1), len(parts)),
            "successes": np.concatenate([won for _, won, _ in parts]),
            "attack_compute": np.concatenate([spent for _, _, spent in parts]),
        },
    )


WIDE = {"spread": 0.24, "slope_spread": 0.4}
ATTACKS = [Study(seeds, examples, 24, asr, **WIDE) for seeds in SEEDS for examples in (32, 100) for asr in (0.8, 0.3)]
ATTACKS += [Study(seeds, examples, 24, 0.8, spread=0.24, slope_spread=0.49) for seeds in MANY for examples in (32, 100)]
ATTACKS += [Study(seeds, 100, 24, 0.5, spread=0.0, slope_spread=0.0) for seeds in MANY]
ATTACKS += [Study(seeds, 100, 24, 0.5, spread=0.13, slope_spread=0.1) for seeds in MANY]
ATTACKS += [Study(seeds, 60, 24, 0.6, alike=0.5, form="records", what="same examples", **WIDE) for seeds in MANY]
ATTACKS += [Study(seeds, 100, 24, 0.55, asymptote=0.6, what="saturates at 0.6", **WIDE) for seeds in SEEDS]
ATTACKS += [Study(seeds, 100, 20, 0.5, form="at_step", kept=0.9, what="success at step", **WIDE) for seeds in MANY]
ATTACKS += [
    Study(1, 200, 50, 0.12, what="rarely broken"),
    Study(5, 100, 20, 0.06, slope=1.5, what="rarely broken"),
    Study(5, 100, 20, 0.95, what="nearly all broken", **WIDE),
    Study(5, 190, 10, 0.4, slope=1.7, what="as in the study"),
]
