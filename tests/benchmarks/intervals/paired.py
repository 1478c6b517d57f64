"""Simulated losses of utility: the same clean examples asked of a victim and of the same victim behind a defense."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from leaderboard.arrays import Floats
from leaderboard.fit.compared.paired_difference import Rest, SeedPairs, paired_difference
from tests.benchmarks.intervals.designs import Figures, counted, coverage_figures
from tests.benchmarks.intervals.simulated_seeds import seed_rates

RIGHT = (0.6, 0.9, 0.98)
"""Undefended accuracies."""
TURNED = ((0.01, 0.01), (0.02, 0.0), (0.03, 0.05), (0.1, 0.02), (0.3, 0.05))
"""Shares of the right answers that a defense turns wrong, and of the wrong ones that it turns right."""


@dataclass(frozen=True)
class PairedDesign:
    """Losses from none to 29 points.

    Attributes:
        listed: of the examples of each seed, those that records list.
        level: standard deviation between seeds of the log-odds (natural) of accuracy and of what is turned.
        alike: correlation over seeds of how hard an example is; 0: other examples in each seed.
    """

    seeds: int
    examples: int
    listed: int
    level: float = 0.0
    alike: float = 0.0

    @property
    def name(self) -> str:
        listed = "" if self.listed == self.examples else f", {self.listed} listed"
        same = ", same examples" if self.alike else ""
        return f"{counted(self.seeds)} × {self.examples}{listed}, log-odds differ by {self.level:g}{same}"

    def measure(self, rng: np.random.Generator, studies: int) -> Figures:
        held, above, widths = [], [], []
        for right in RIGHT:
            for wronged, righted in TURNED:
                loss = right * wronged - (1 - right) * righted
                found = [self._study(rng, right, wronged, righted) for _ in range(studies)]
                held.append(float(np.mean([low <= loss <= high for low, high in found])))
                above.append(float(np.mean([low > loss for low, _ in found])))
                widths += [high - low for low, high in found]
        return coverage_figures(held) | {
            "said to lose more than it does": float(np.mean(above)),
            "median width": float(np.median(widths)),
        }

    def _study(self, rng: np.random.Generator, right: float, wronged: float, righted: float) -> tuple[float, float]:
        first = self._outcomes(rng, right)
        turned = np.where(first, self._outcomes(rng, wronged), self._outcomes(rng, righted))
        second = first ^ turned
        seeds = []
        for at in range(self.seeds):
            names = tuple(f"{index}" if self.alike else f"{at} {index}" for index in range(self.listed))
            left = self.examples - self.listed
            rest = Rest(int(second[at, self.listed :].sum()), left, int(first[at, self.listed :].sum()), left)
            seeds.append(SeedPairs(names, second[at, : self.listed], first[at, : self.listed], rest))
        found = paired_difference(seeds, one_model=False)
        assert found is not None
        return found.low, found.high

    def _outcomes(self, rng: np.random.Generator, mean: float) -> np.ndarray:
        """Whether something happens to each example, [S, E], in ``mean`` of the cases over all seeds."""
        if not mean:
            return np.zeros((self.seeds, self.examples), dtype=np.bool_)
        rates: Floats = seed_rates(rng, (self.seeds,), mean, self.level)
        of_example = rng.normal(size=self.examples)
        hard = np.sqrt(self.alike) * of_example + np.sqrt(1 - self.alike) * rng.normal(size=(self.seeds, self.examples))
        return np.asarray(ndtr(hard) < ndtr(ndtri(rates))[:, None])


PAIRED = [
    *(PairedDesign(1, examples, listed) for examples, listed in ((32, 32), (100, 100), (256, 32), (1000, 1000))),
    *(PairedDesign(seeds, 256, 32, level) for seeds in (2, 3, 5) for level in (0.0, 0.56)),
    *(PairedDesign(seeds, 100, 100, 0.56, 0.5) for seeds in (2, 3, 5, 10)),
]
