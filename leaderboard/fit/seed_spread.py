"""How wide a 95% interval must be when seeds, and not only examples, are draws from more of their kind."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri, stdtrit

from leaderboard.arrays import Floats

UPPER = 0.975
MAX_LEVEL_SD = 1.25  # between seeds, natural log-odds; the largest of 180 points of published curves is 0.82
MAX_SLOPE_SD = 0.75  # between seeds, logarithm of an attack-scaling slope; the largest of 19 published curves is 0.41
MAX_COST_SD = 0.4  # between seeds, decades of compute to a target: MAX_LEVEL_SD at slopes of 1.4 and more
MAX_ROUND_SLOPE_SD = 0.5  # between seeds, slope over the rounds of a defense, as a share of it; no more is published


def half_interval_squared(
    between: Floats,
    examples_alone: Floats,
    largest: Floats,
    seeds: int,
    shared: Floats | float = 0.0,
    level: float = UPPER,
) -> Floats:
    """The square of half an interval for a mean over seeds.

    Student's t with ``seeds`` − 1 degrees of freedom for the spread that the seeds show themselves. Two or three show
    so little that the interval would be nearly everything, so seeds are taken to differ no more than ``largest``,
    unless these do. It is never narrower than the examples alone make it.

    Args:
        between: variance of the mean, as the seeds show it.
        examples_alone: its variance if seeds did not differ.
        largest: its variance if seeds differed as much as any known ones do.
        seeds: how many, 2 or more.
        shared: what is added because seeds have examples in common.
        level: the quantile at the upper end.
    """
    z, t = float(ndtri(level)), float(stdtrit(seeds - 1, level))
    square = np.minimum(t * t * between, z * z * np.maximum(largest, between))
    return np.asarray(np.maximum(square, z * z * examples_alone) + z * z * np.maximum(shared, 0.0))
