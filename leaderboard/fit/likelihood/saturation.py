"""Does a curve level off below an ASR of 1? A likelihood ratio test that goes seed by seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import binom, chdtrc

from leaderboard.arrays import Floats
from leaderboard.fit.likelihood.likelihood import ClusteredEnds, clustered_ends
from leaderboard.fit.likelihood.maximum import Maximum, maximize_likelihood
from leaderboard.fit.likelihood.observations import Observations


def saturation_p(observations: Observations, overcounting: float = 1.0) -> float:
    """p-value of an asymptote of 1 in all seeds; ``observations`` have a design of ones.

    Each seed has its own slope and level, with and without an asymptote of its own: no spread between seeds comes into
    the comparison, and seeds that differ in slope do not look like one curve that levels off. The ratios are summed; an
    asymptote of 1 is on the boundary, so that by chance alone half of the seeds have no ratio at all (Self and Liang
    1987).

    Args:
        overcounting: how many times too large the likelihood takes the data for, as seeds share examples.
    """
    ratio, tested = 0.0, 0
    for seed in range(observations.clusters):
        data = clustered_ends(_of_seed(observations, seed))
        plain = maximize_likelihood(data, plain_start(data))
        if plain is None or plain.beta[0] <= 0:
            continue
        tested += 1
        saturating = maximize_saturating(data, plain)
        if saturating is not None:
            ratio += max(0.0, 2 * (saturating.value - plain.value))
    ratio /= overcounting
    if not ratio > 0:
        return 1.0
    free = np.arange(1, tested + 1)
    return float((binom(tested, free) * 0.5**tested * chdtrc(free, ratio)).sum())


def plain_start(data: ClusteredEnds) -> Floats:
    """Where to start the climb to the maximum without an asymptote."""
    events = float(data.events.sum())
    share = min(max(events / (events + float(data.weight[:, data.first_censored :].sum())), 0.01), 0.95)
    return np.array([1.5 * np.log(10.0), np.log(share / (1 - share))])


def maximize_saturating(data: ClusteredEnds, plain: Maximum) -> Maximum | None:
    """The maximum with a free asymptote, where lowering it from 1 would raise the likelihood at all."""
    z = data.ends[:, data.first_censored :] @ plain.beta + plain.terms.shift[:, None]
    censored, events = data.weight[:, data.first_censored :], float(data.events.sum())
    if float((censored * np.exp(np.minimum(z, 500))).sum()) <= events:
        return None
    asymptote = min(0.97, 1.1 * events / (events + float(censored.sum())))
    return maximize_likelihood(data, plain.beta, asymptote, near=plain)


def _of_seed(observations: Observations, seed: int) -> Observations:
    own = observations.cluster == seed
    example = observations.example[own] if len(observations.example) else observations.example
    low, high, weight = (values[own] for values in (observations.low, observations.high, observations.weight))
    return replace(
        observations,
        low=low,
        high=high,
        weight=weight,
        cluster=np.zeros(len(low), dtype=np.int64),
        design=observations.design[own],
        example=example,
    )
