"""Simulated stacks of defenses: none, two parts and both together, under seeds that differ in each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, ndtr

from leaderboard.fit.compared.stack_log_ratio import stack_log_ratio
from tests.benchmarks.intervals.designs import Figures, counted, coverage_figures
from tests.benchmarks.intervals.rates_and_costs import MANY, SEEDS
from tests.benchmarks.intervals.simulated_seeds import typical_log_odds

CASES = ((0.8, 0.5, 0.5, 0.3125), (0.9, 0.3, 0.6, 0.2), (0.6, 0.2, 0.3, 0.1))


@dataclass(frozen=True)
class Stacks:
    """ASR undefended, behind each part and behind the stack as in `CASES`.

    Attributes:
        level: standard deviation between seeds of the log-odds (natural); half of its variance is the seed's own,
            whatever stands before it.
        same: whether all seeds attack the same examples.
    """

    seeds: int
    examples: int
    level: float
    same: bool = False

    @property
    def name(self) -> str:
        """As the table has it."""
        shape = f"{counted(self.seeds)} × {self.examples}"
        return f"{shape}, log-odds differ by {self.level:g}" + ", same examples" * self.same

    def measure(self, rng: np.random.Generator, studies: int) -> Figures:
        """Simulate so many studies of each case."""
        held, widths = [], []
        names = [[f"{0 if self.same else seed} {at}" for at in range(self.examples)] for seed in range(self.seeds)]
        for case in CASES:
            middle = np.array([typical_log_odds(mean, self.level) for mean in case])
            none, one, other, both = np.log(case)
            truth = both + none - one - other
            inside = []
            for _ in range(studies):
                shift = np.sqrt(0.5) * (rng.normal(size=(self.seeds, 1)) + rng.normal(size=(self.seeds, 4)))
                rate = expit(middle + self.level * shift)
                hard = rng.normal(size=(1 if self.same else self.seeds, self.examples, 1))
                rank = ndtr(np.sqrt(0.5) * (hard + rng.normal(size=(self.seeds, self.examples, 4))))
                ratio = stack_log_ratio(list(rank < rate[:, None]), names)
                inside.append(ratio.low <= truth <= ratio.high)
                widths.append(ratio.high - ratio.low)
            held.append(float(np.mean(inside)))
        return coverage_figures(held) | {"median width": float(np.median(widths))}


STACKS = [Stacks(seeds, examples, 0.56) for seeds in SEEDS for examples in (32, 100)]
STACKS += [Stacks(seeds, 32, level) for seeds in SEEDS for level in (0.0, 1.0)]
STACKS += [Stacks(seeds, 32, 0.56, same=True) for seeds in MANY]
