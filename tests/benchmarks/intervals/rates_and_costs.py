"""Simulated ASR and compute to a target: how often their intervals hold the mean of all seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from leaderboard.fit.compute_to_target import compute_to_target
from leaderboard.fit.crossing import first_crossing
from leaderboard.fit.pooled_rates import rate_bounds
from tests.benchmarks.intervals.designs import Figures, counted, coverage_figures
from tests.benchmarks.intervals.simulated_seeds import Seeds, seed_rates

SEEDS = (1, 2, 3, 5, 10)
MANY = SEEDS[1:]
MEANS = (0.02, 0.06, 0.2, 0.5, 0.8, 0.98)
ASR_AND_TARGET = ((0.8, 0.5), (0.6, 0.5), (0.95, 0.5), (0.5, 0.1), (0.25, 0.05))
NO_UPPER_END = 3.0  # budgets: an interval without an upper end is counted as this wide


@dataclass(frozen=True)
class Rates:
    """ASR of 2% to 98%; ``level``: standard deviation between seeds of the log-odds (natural)."""

    seeds: int
    examples: int
    level: float

    @property
    def name(self) -> str:
        return f"{counted(self.seeds)} × {self.examples}, log-odds differ by {self.level:g}"

    def measure(self, rng: np.random.Generator, studies: int) -> Figures:
        held, wider = [], []
        trials = np.full(self.seeds, float(self.examples))
        for mean in MEANS:
            rates = seed_rates(rng, (self.seeds, studies), mean, self.level)
            won = rng.binomial(self.examples, rates).astype(np.float64)
            low, high = rate_bounds(won, trials)
            alone = rate_bounds(won.sum(axis=0, keepdims=True), trials.sum(keepdims=True))
            held.append(float(((low <= mean) & (mean <= high)).mean()))
            wider.append(float((high - low).mean() / (alone[1] - alone[0]).mean()))
        return coverage_figures(held) | {"width over that of examples alone": float(np.median(wider))}


@dataclass(frozen=True)
class Costs:
    """Compute to the target, over several curves and targets, and ASR at the full budget.

    Attributes:
        spread: between seeds, of the log-odds (natural) and of the logarithm of the slope.
        attacks: how many equal attacks, of which the cheapest counts.
        alike: correlation over seeds of how hard an example is; 0: other examples in each seed.
        stops: whether an example's search stops when it succeeds.
    """

    seeds: int
    examples: int
    spread: tuple[float, float]
    attacks: int = 1
    alike: float = 0.0
    stops: bool = False

    @property
    def name(self) -> str:
        more = f", {self.attacks} equal attacks" * (self.attacks > 1) + ", same examples" * (self.alike > 0)
        more += ", stops at success" * self.stops
        level, tilt = self.spread
        return f"{counted(self.seeds)} × {self.examples}, log-odds differ by {level:g}, slopes by {tilt:g}{more}"

    def measure(self, rng: np.random.Generator, studies: int) -> Figures:
        held, full, widths = [], [], []
        for asr, target in ASR_AND_TARGET:
            made = Seeds(asr, *self.spread, alike=self.alike, stops=self.stops)
            truth = made.mean()
            cost = float(first_crossing(made.mean_compute(), truth, target))
            inside = []
            for _ in range(studies):
                curves = [made.draw(rng, self.seeds, self.examples) for _ in range(self.attacks)]
                _, low, high = compute_to_target(curves, target)
                inside.append(low <= cost <= high)
                widths.append(np.log10(min(high, NO_UPPER_END) / np.clip(low, made.compute[0] / 10, NO_UPPER_END)))
                below, above = (
                    ends[-1] for ends in rate_bounds(curves[0].successes, curves[0].trials, curves[0].shared)
                )
                full.append(below <= truth[-1] <= above)
            held.append(float(np.mean(inside)))
        figures = coverage_figures(held) | {"median width, decades": float(np.median(widths))}
        return figures | {"ASR at full budget held": float(np.mean(full))}


RATES = [Rates(seeds, examples, level) for seeds in SEEDS for examples in (32, 100) for level in (0.0, 0.3, 0.56, 1.0)]
COSTS = [
    Costs(seeds, examples, spread)
    for seeds in SEEDS
    for examples in (32, 100)
    for spread in ((0.0, 0.0), (0.3, 0.1), (0.56, 0.4), (0.56, 0.49))
]
COSTS += [Costs(seeds, 32, (0.56, 0.4), attacks=4) for seeds in MANY]
COSTS += [Costs(seeds, 32, (0.56, 0.4), alike=0.5) for seeds in MANY]
COSTS += [Costs(seeds, 32, (0.56, 0.4), stops=True) for seeds in MANY]
