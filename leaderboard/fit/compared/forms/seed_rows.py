"""First successes of each seed, example by example, and how likely a curve of some form makes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from leaderboard.arrays import Floats, Integers
from leaderboard.fit.compared.forms.curves import Form, Scale
from leaderboard.fit.likelihood.first_successes import FirstSuccesses

LEAST_CHANCE = 1e-12  # what a curve takes for less likely counts as this likely
_NO_CURVE = -1e9  # log-likelihood of parameters that are no curve


@dataclass(frozen=True)
class SeedRows:
    """One seed's R examples.

    Attributes:
        low, high: [R], compute relative to the budget that was not enough, 0 where nothing is known not to be, and that
            was, inf for an example that was never broken.
        example: [R], its number, the same in all seeds.
    """

    low: Floats
    high: Floats
    example: Integers

    @property
    def broken(self) -> int:
        """How many examples are."""
        return int(np.isfinite(self.high).sum())


def rows_by_seed(first: FirstSuccesses) -> tuple[list[SeedRows], Scale]:
    """The rows, some of them broken, and what relative compute means: the budget is the median of examples that
    were never broken (the largest amount where all were), at least that of those that were; an ask is the median step
    in which one was.
    """
    observations = first.observations
    low, high = 10.0**observations.low, 10.0**observations.high
    broken = np.isfinite(high)
    count = observations.weight.round().astype(np.int64)
    spent = np.repeat(low[~broken], count[~broken])
    enough, step = (float(np.median(np.repeat(each[broken], count[broken]))) for each in (high, high - low))
    budget = max(float(np.median(spent)), enough) if len(spent) else float(high.max())
    seeds, known = [], len(observations.example) > 0
    next_example = 0
    for seed in range(observations.clusters):
        own = np.repeat(np.flatnonzero(observations.cluster == seed), count[observations.cluster == seed])
        example = observations.example[own] if known else next_example + np.arange(len(own))
        next_example += len(own)
        seeds.append(SeedRows(low[own] / budget, high[own] / budget, example))
    return seeds, Scale(budget, budget / step)


def log_chances(
    form: Form, level: Floats, shape: Floats, asymptote: Floats, rows: SeedRows, asks: float
) -> tuple[Floats, Integers]:
    """Log-likelihood of each different pair of bounds, [..., P], and which of them each row has, [R]."""
    pairs, place = np.unique(np.stack([rows.low, rows.high], axis=1), axis=0, return_inverse=True)
    broken = np.isfinite(pairs[:, 1])
    ends, index = np.unique(np.concatenate([pairs[:, 0], pairs[broken, 1]]), return_inverse=True)
    paid = ends > 0
    shape_of_all = np.broadcast_shapes(level.shape, shape.shape)
    asr = np.zeros((*shape_of_all, len(ends)))
    asr[..., paid] = form.asr(level[..., None], shape[..., None], asymptote[..., None], ends[paid], asks)
    upper = np.ones((*shape_of_all, len(pairs)))
    upper[..., broken] = asr[..., index[len(pairs) :]]
    chance = upper - asr[..., index[: len(pairs)]]
    logs = np.log(np.maximum(np.nan_to_num(chance, nan=1.0), LEAST_CHANCE))
    return np.where(np.isnan(chance), _NO_CURVE, logs), place.ravel()


def levels_of(rows: SeedRows, count: int = 33, errors: float = 4.5) -> Floats:
    """A grid of levels, log-odds of the ASR at the budget: its estimate and so many standard errors to each side."""
    examples, share = len(rows.high), _share_broken(rows)
    won, lost = share * examples + 0.5, (1 - share) * examples + 0.5
    reach = errors * float(np.sqrt(1 / won + 1 / lost))
    return np.asarray(np.log(won / lost) + np.linspace(-reach, reach, count))


def _share_broken(rows: SeedRows) -> float:
    """At the budget, by the product limit (Kaplan and Meier 1958): some searches end before it."""
    ends = np.where(np.isfinite(rows.high), rows.high, rows.low)
    times = np.unique(rows.high[rows.high <= 1 + 1e-9])
    fell = (rows.high[None, :] == times[:, None]).sum(axis=1)
    return 1 - float(np.prod(1 - fell / (ends[None, :] >= times[:, None]).sum(axis=1)))
