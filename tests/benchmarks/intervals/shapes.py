"""How often a simulated curve is said to saturate, and seeds to differ in slope."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from leaderboard.fit.attack_scaling import SLOPES_DIFFER_P
from leaderboard.fit.likelihood.log_odds import SATURATION_P
from tests.benchmarks.intervals.attacks import Study, fit_study
from tests.benchmarks.intervals.designs import Figures
from tests.benchmarks.intervals.rates_and_costs import MANY, SEEDS


@dataclass(frozen=True)
class Shape:
    """Of one design of curves."""

    study: Study

    @property
    def name(self) -> str:
        """As the table has it."""
        return self.study.name

    def measure(self, rng: np.random.Generator, studies: int) -> Figures:
        """Simulate and fit so many studies."""
        saturates = differs = fitted = 0
        for _ in range(studies):
            fit = fit_study(self.study, rng)
            if fit.curve is None:
                continue
            fitted += 1
            saturates += fit.curve.saturation_p < SATURATION_P
            differs += fit.curve.slopes is not None and fit.curve.slopes.p < SLOPES_DIFFER_P
        return {"said to saturate": saturates / fitted, "said to differ in slope": differs / fitted}


_BASE = Study(1, 100, 24, 0.8)
SHAPES = [
    Shape(replace(_BASE, seeds=seeds, examples=examples, spread=level, slope_spread=tilt))
    for level, tilt in ((0.0, 0.0), (0.24, 0.1), (0.24, 0.4))
    for seeds in SEEDS
    for examples in (32, 100)
]
SHAPES += [
    Shape(replace(_BASE, seeds=seeds, asr=0.95 * top, asymptote=top, what=f"saturates at {top:g}", slope_spread=0.4))
    for top in (0.6, 0.3)
    for seeds in SEEDS
]
SHAPES += [
    Shape(replace(_BASE, seeds=seeds, alike=0.9, form="records", what="same examples", spread=0.24)) for seeds in MANY
]
