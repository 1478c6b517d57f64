"""Simulated attack-scaling studies of a known truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logit, ndtr

from leaderboard.data.count_table import CountTable, make_count_table
from leaderboard.data.trajectories import Trajectories
from leaderboard.fit.attack_scaling import AttackScaling, fit_attack_scaling, fit_first_successes
from leaderboard.fit.likelihood.first_successes import first_successes_of_trajectories
from tests.benchmarks.intervals.tally import Tally

REFERENCE = 1e15  # FLOPs; a whole budget is one thousandth of it
BUDGET = 1e12


@dataclass(frozen=True)
class Study:
    """A design. In every seed the first-success compute of a random example follows the model exactly.

    Attributes:
        asr: at the full budget, of a typical seed.
        slope: decades of odds per decade of compute; ``slope_spread`` its relative standard deviation over seeds.
        spread: standard deviation over seeds of the log-odds, in decades.
        alike: correlation over seeds of how hard an example is (0: other examples in each seed).
        asymptote: the ASR at which the curve saturates.
        form: records (each example's own compute, known by name), counts (a table), or at_step: counts of successes
            that each step has from the one before with probability ``kept``, and else anew.
    """

    name: str
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

    @property
    def intercept(self) -> float:
        """At the reference compute."""
        at_budget = logit(self.asr / self.asymptote) / np.log(10)
        return float(at_budget - self.slope * np.log10(BUDGET / REFERENCE))


STUDIES = [
    Study("1 seed", 1, 100, 20, 0.5),
    Study("1 seed, rarely broken", 1, 200, 50, 0.12),
    Study("2 seeds", 2, 100, 20, 0.5),
    Study("3 seeds", 3, 100, 20, 0.5),
    Study("3 seeds, rarely broken", 3, 100, 50, 0.12),
    Study("3 seeds that do not differ", 3, 200, 50, 0.1, slope_spread=0.0, spread=0.0),
    Study("5 seeds", 5, 100, 10, 0.5),
    Study("5 seeds, nearly all broken", 5, 100, 20, 0.95),
    Study("5 seeds, few examples", 5, 20, 20, 0.5),
    Study("5 seeds, rarely broken", 5, 100, 20, 0.06, slope=1.5),
    Study("5 seeds that differ much", 5, 100, 10, 0.1, spread=0.6),
    Study("10 seeds", 10, 50, 20, 0.7, slope=3.0),
    Study("5 seeds as in the study", 5, 190, 10, 0.4, slope=1.7),
    Study("3 seeds, records", 3, 60, 40, 0.4, form="records"),
    Study("3 seeds, same examples, records", 3, 100, 20, 0.5, alike=0.5, form="records"),
    Study("2 seeds, same examples, records", 2, 100, 20, 0.5, alike=0.5, form="records"),
    Study("3 seeds, success at step", 3, 100, 20, 0.5, form="at_step", kept=0.9),
    Study("1 seed, saturates", 1, 200, 20, 0.55, asymptote=0.6),
    Study("3 seeds, saturate", 3, 100, 20, 0.55, asymptote=0.6),
    Study("5 seeds, saturate", 5, 100, 50, 0.78, asymptote=0.8),
    Study("3 seeds, saturate low", 3, 200, 50, 0.27, asymptote=0.3),
]


def run(study: Study, rng: np.random.Generator, tally: Tally) -> None:
    """Simulate one study, fit it, and count what the intervals hold."""
    table, cells, slopes, intercepts = simulate(study, rng)
    if study.form == "records":
        fit = fit_first_successes({}, first_successes_of_trajectories([(paths, REFERENCE) for paths in cells]))
    else:
        (fit,) = fit_attack_scaling(table, "counts")
    (least,) = fit_attack_scaling(table, "ols")
    few = study.seeds < 3  # then the interval is for these seeds
    slope = float(np.mean(slopes)) if few else study.slope
    intercept = float(np.mean(intercepts)) if few else study.intercept
    place = 0.4 * BUDGET / REFERENCE
    asr = study.asymptote / (1 + 10 ** -(intercept + slope * np.log10(place)))
    _count(tally, fit, least, slope, intercept, place, asr)


def _count(
    tally: Tally, fit: AttackScaling, least: AttackScaling, slope: float, intercept: float, place: float, asr: float
) -> None:
    if fit.line.slope is None:
        tally.refused += 1
        return
    tally.value("slope", fit.line.slope, fit.line.slope_ci, slope)
    tally.value("intercept", fit.line.intercept, fit.line.intercept_ci, intercept)
    middle, low, high = (float(part[0]) for part in fit.band(np.array([place])))
    tally.value("ASR", middle, (low, high), asr)
    tally.value("ols", least.line.slope, least.line.slope_ci, slope)
    tally.saturated += fit.asymptote is not None


def simulate(study: Study, rng: np.random.Generator) -> tuple[CountTable, list[Trajectories], list[float], list[float]]:
    """The study's table and records, and each seed's own slope and intercept."""
    grid = np.log10(np.arange(1, study.steps + 1) / study.steps * BUDGET)
    shared = rng.normal(size=study.examples)
    # Examples of different lengths cost different amounts a step; the table has their mean.
    dear = rng.normal(0, 0.1, study.examples) if study.form == "records" else np.zeros(study.examples)
    tables, cells, slopes, intercepts = [], [], [], []
    for seed in range(study.seeds):
        slope = study.slope * np.exp(study.slope_spread * rng.normal() - study.slope_spread**2 / 2)
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
