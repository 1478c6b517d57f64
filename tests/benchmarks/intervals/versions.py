"""Two versions of a model on the same examples: differences of rates, and ratios of the costs to break them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, ndtr

from leaderboard.fit.compared.cost_ratio import BrokenExamples, cost_ratio
from leaderboard.fit.compared.paired_difference import Rest, SeedPairs, paired_difference
from leaderboard.fit.crossing import first_crossing
from tests.benchmarks.intervals.designs import Figures, counted, coverage_figures
from tests.benchmarks.intervals.simulated_seeds import Seeds, typical_log_odds

OLD_AND_NEW = ((0.02, 0.02), (0.1, 0.1), (0.1, 0.2), (0.5, 0.5), (0.6, 0.4), (0.8, 0.95), (0.98, 0.98))
CURVES = ((0.8, 0.8, 0.5), (0.9, 0.6, 0.5), (0.6, 0.6, 0.2))
"""ASR of either version at the full budget, and the target."""
NO_END = 3.0  # budgets: an interval without an end is counted as this wide


@dataclass(frozen=True)
class Versions:
    """Shares of the same examples in two versions, as in `OLD_AND_NEW`.

    Attributes:
        level: standard deviation between seeds of the log-odds (natural), each version's own; None: one model, which
            all seeds attack.
        alike: correlation over versions and seeds of how hard an example is.
        own: what seeds of one version have in common besides, so that differences are alike over seeds.
        rest: of the examples of a seed, how many are known by number alone.
    """

    seeds: int
    examples: int
    level: float | None = None
    alike: float = 0.7
    own: float = 0.0
    rest: int = 0

    @property
    def name(self) -> str:
        """As the table has it."""
        models = "one model" if self.level is None else f"log-odds differ by {self.level:g}"
        more = f", versions by {self.own:g}" * (self.own > 0) + f", {self.rest} by number alone" * (self.rest > 0)
        return f"{counted(self.seeds)} × {self.examples}, {models}, alike {self.alike:g}{more}"

    def measure(self, rng: np.random.Generator, studies: int) -> Figures:
        """Simulate so many studies of each case."""
        held, widths, passed = [], [], []
        names = tuple(map(str, range(self.examples - self.rest)))
        for case in OLD_AND_NEW:
            inside = []
            for _ in range(studies):
                old, new = self._outcomes(rng, case)
                pairs = [
                    SeedPairs(names, was[self.rest :], now[self.rest :], self._rest(was, now))
                    for was, now in zip(old, new, strict=True)
                ]
                found = paired_difference(pairs, one_model=self.level is None)
                assert found is not None
                inside.append(found.low <= case[1] - case[0] <= found.high)
                passed.append(found.high < case[1] - case[0])
                widths.append(found.high - found.low)
            held.append(float(np.mean(inside)))
        figures = coverage_figures(held) | {"median width": float(np.median(widths))}
        return figures | {"passed at the margin": float(np.mean(passed))}

    def _outcomes(self, rng: np.random.Generator, case: tuple[float, float]) -> np.ndarray:
        """[2, S, E]."""
        level = self.level or 0.0
        middle = np.array([typical_log_odds(mean, level) for mean in case])[:, None]
        rate = expit(middle + level * rng.normal(size=(2, self.seeds)))
        hard = np.sqrt(self.alike) * rng.normal(size=self.examples)
        hard = hard + np.sqrt(self.own) * rng.normal(size=(2, 1, self.examples))
        rank = ndtr(hard + np.sqrt(1 - self.alike - self.own) * rng.normal(size=(2, self.seeds, self.examples)))
        return np.asarray(rank < rate[..., None])

    def _rest(self, old: np.ndarray, new: np.ndarray) -> Rest:
        was, now = (int(rows[: self.rest].sum()) for rows in (old, new))
        return Rest(was, self.rest, now, self.rest)


@dataclass(frozen=True)
class CostRatios:
    """Ratio of the costs to break two versions, as in `CURVES`; ``alike`` and ``level`` as above."""

    seeds: int
    examples: int
    level: float | None = None
    alike: float = 0.5
    stops: bool = False

    @property
    def name(self) -> str:
        """As the table has it."""
        models = "one model" if self.level is None else f"log-odds differ by {self.level:g}"
        stops = ", stops at success" * self.stops
        return f"{counted(self.seeds)} × {self.examples}, {models}, alike {self.alike:g}{stops}"

    def measure(self, rng: np.random.Generator, studies: int) -> Figures:
        """Simulate so many studies of each case."""
        held, widths = [], []
        tilt = 0.0 if self.level is None else 0.4
        names = [tuple(map(str, range(self.examples)))] * self.seeds
        for of_old, of_new, target in CURVES:
            made = [Seeds(asr, self.level or 0.0, tilt, alike=self.alike, stops=self.stops) for asr in (of_old, of_new)]
            truth = [float(first_crossing(one.mean_compute(), one.mean(), target)) for one in made]
            inside = []
            for _ in range(studies):
                hard = rng.normal(size=self.examples)
                old, new = (self._attack(rng, one, names, hard) for one in made)
                found = cost_ratio(old, new, target, one_model=self.level is None)
                low, high = found.low or 0.0, np.inf if found.high is None else found.high
                inside.append(low <= truth[1] / truth[0] <= high)
                widths.append(np.log10(min(high, NO_END) / max(low, 1 / NO_END)))
            held.append(float(np.mean(inside)))
        return coverage_figures(held) | {"median width, decades": float(np.median(widths))}

    def _attack(
        self, rng: np.random.Generator, made: Seeds, names: list[tuple[str, ...]], hard: np.ndarray
    ) -> BrokenExamples:
        first = made.first_steps(rng, self.seeds, self.examples, hard=hard)
        steps = np.arange(made.steps)
        last = np.minimum(first[..., None], steps) if self.stops else np.broadcast_to(steps, (*first.shape, len(steps)))
        return BrokenExamples(names, list(first[..., None] <= steps), list((last + 1.0) / made.steps))


DIFFERENCES = [Versions(1, examples) for examples in (32, 100, 300)]
DIFFERENCES += [Versions(1, 100, alike=alike) for alike in (0.0, 0.95)]
DIFFERENCES += [Versions(seeds, examples) for seeds in (2, 3, 5) for examples in (32, 100)]
DIFFERENCES += [Versions(3, 100, alike=alike) for alike in (0.0, 0.95)]
DIFFERENCES += [Versions(seeds, 100, alike=0.6, own=0.3) for seeds in (2, 3, 5)]
DIFFERENCES += [Versions(seeds, 100, level) for seeds in (2, 3, 5, 10) for level in (0.0, 0.3, 0.56)]
DIFFERENCES += [Versions(seeds, 32, 0.56) for seeds in (2, 3, 5, 10)]
DIFFERENCES += [Versions(seeds, 100, 0.3, alike=0.6, own=0.3) for seeds in (3, 10)]
DIFFERENCES += [Versions(1, 300, rest=200), Versions(3, 300, 0.3, rest=200)]
COST_RATIOS = [CostRatios(1, examples, alike=alike) for examples in (32, 100) for alike in (0.0, 0.5, 0.9)]
COST_RATIOS += [CostRatios(1, 100, stops=True), CostRatios(3, 32), CostRatios(3, 100), CostRatios(3, 100, stops=True)]
COST_RATIOS += [CostRatios(seeds, 32, 0.56) for seeds in (2, 3, 5, 10)]
