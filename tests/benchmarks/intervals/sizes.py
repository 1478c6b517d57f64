"""Simulated families of victims: attack-scaling slopes against their size."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from leaderboard.fit.attack_scaling import AttackScaling, fit_attack_scaling
from leaderboard.fit.sizes.size_scaling import fit_size_scaling
from tests.benchmarks.intervals.attacks import Study, simulate
from tests.benchmarks.intervals.designs import Figures, Tally, counted

SLOPE = -0.3  # of the logarithm of the slope, in powers of ten of the size


@dataclass(frozen=True)
class Sizes:
    """Slopes fall in log10 parameters, with a scatter of their own; each is fitted from ``seeds`` simulated seeds, of
    which each size has as many examples as the others or, ``uneven``, a fifth to five times as many.
    """

    sizes: int
    seeds: int
    scatter: float = 0.1
    uneven: bool = False

    @property
    def name(self) -> str:
        """As the table has it."""
        more = ", uneven numbers of examples" * self.uneven + ", no scatter of their own" * (self.scatter == 0)
        return f"{self.sizes} sizes, {counted(self.seeds)} each{more}"

    def measure(self, rng: np.random.Generator, studies: int) -> Figures:
        """Simulate and fit so many studies."""
        sizes, tally = np.geomspace(1e7, 1e10, self.sizes), Tally()
        for _ in range(studies):
            fits: dict[str, list[AttackScaling]] = {"counts": [], "ols": []}
            for size in sizes:
                true = 2.0 + SLOPE * np.log10(size / 10**8.5) + self.scatter * rng.normal()
                examples = round(60 * 5 ** rng.uniform(-1, 1)) if self.uneven else 60
                study = Study(self.seeds, examples, 24, 0.7, slope=true, slope_spread=0.2)
                table, *_ = simulate(study, rng)
                for method, own in fits.items():
                    (fit,) = fit_attack_scaling(table, method)  # type: ignore[arg-type]
                    own.append(replace(fit, group={**fit.group, "n_params": round(size)}))  # type: ignore[typeddict-item]
            for name, method in (("slope", "counts"), ("ols", "ols")):
                (line,) = fit_size_scaling(fits[method])
                tally.value(name, line.line.slope, line.line.slope_ci, SLOPE)
        return tally.figures(["slope"]) | {"ols: slope held": tally.coverage("ols")}


SIZES = [Sizes(sizes, seeds) for sizes, seeds in ((4, 1), (4, 3), (10, 1), (10, 2), (10, 5))]
SIZES += [Sizes(10, 3, uneven=True), Sizes(10, 3, scatter=0.0), Sizes(4, 2, uneven=True)]
