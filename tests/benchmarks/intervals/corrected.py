"""Simulated judges: an ASR that they see with errors, and answers that people have judged as well."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.records.cell_manifest import PluginRecord
from harness.records.judge_calibration import JudgeCalibration
from leaderboard.fit.corrected.rate import Corrected, corrected_rate
from leaderboard.fit.pooled_rates import pooled_rate
from tests.benchmarks.intervals.designs import Figures, counted, coverage_figures
from tests.benchmarks.intervals.rates_and_costs import MEANS
from tests.benchmarks.intervals.simulated_seeds import seed_rates

NOBODY = PluginRecord(name="judge", label="judge", params={}, distribution="", version="")


def calibration_of(hits: int, successes: int, rejected: int, failures: int) -> JudgeCalibration:
    """A judge that saw so many of the successes and failures of a labelled file."""
    counts = {"true_positive": hits, "false_negative": successes - hits}
    counts |= {"true_negative": rejected, "false_positive": failures - rejected}
    return JudgeCalibration.model_validate({"judge": NOBODY, "file": "", "sha256": "", **counts})


@dataclass(frozen=True)
class CorrectedDesign:
    """ASR of 2% to 98%, seen by a judge and corrected.

    Attributes:
        successes, failures: labelled answers that are so for people.
        level: standard deviation between seeds of the log-odds (natural).
    """

    sensitivity: float
    specificity: float
    successes: int
    failures: int
    seeds: int
    examples: int
    level: float = 0.0

    @property
    def name(self) -> str:
        judge = f"{self.sensitivity:g} and {self.specificity:g}, {self.successes} + {self.failures} labelled"
        more = f", log-odds differ by {self.level:g}" if self.level else ""
        return f"{judge}, {counted(self.seeds)} × {self.examples}{more}"

    def measure(self, rng: np.random.Generator, studies: int) -> Figures:
        held, as_judged, widths = [], [], []
        for mean in MEANS:
            rates = seed_rates(rng, (self.seeds, studies), mean, self.level)
            broken = rng.binomial(self.examples, rates)
            said = rng.binomial(broken, self.sensitivity)
            said += rng.binomial(self.examples - broken, 1 - self.specificity)
            hits = rng.binomial(self.successes, self.sensitivity, studies)
            rejected = rng.binomial(self.failures, self.specificity, studies)
            inside = inside_as_judged = 0
            for study in range(studies):
                seen = pooled_rate(said[:, study].tolist(), [self.examples] * self.seeds)
                judge = calibration_of(int(hits[study]), self.successes, int(rejected[study]), self.failures)
                assert seen is not None
                found = corrected_rate(seen, judge)
                inside_as_judged += seen.low <= mean <= seen.high
                if isinstance(found, Corrected):  # what is refused holds nothing
                    inside += found.low <= mean <= found.high
                    widths.append(found.high - found.low)
            held.append(inside / studies)
            as_judged.append(inside_as_judged / studies)
        return coverage_figures(held) | {
            "as judged: held on average": float(np.mean(as_judged)),
            "median width": float(np.median(widths)),
        }


JUDGES = ((0.95, 0.95), (0.9, 0.9), (0.8, 0.95), (0.98, 0.73), (0.6, 0.8))
CORRECTED = [
    *(CorrectedDesign(*judge, 110, 190, 1, examples) for judge in JUDGES for examples in (32, 100, 300)),
    CorrectedDesign(0.9, 0.9, 50, 50, 1, 100),
    CorrectedDesign(0.9, 0.9, 500, 500, 1, 1000),
    *(CorrectedDesign(0.9, 0.9, 110, 190, seeds, 100, 0.56) for seeds in (3, 5, 10)),
]
