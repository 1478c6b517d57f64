"""Interval-censored observations: how much compute it took, known only to lie between two amounts."""

from __future__ import annotations

from dataclasses import dataclass

from leaderboard.arrays import Floats, Integers


@dataclass(frozen=True)
class Observations:
    """R observations in S clusters (seeds), each of a y with low < y <= high.

    Attributes:
        low: [R], -inf when nothing bounds y from below.
        high: [R], inf for an observation that is right-censored.
        weight: [R], how many observations this row stands for.
        cluster: [R], 0 … S - 1.
        design: [R, P], covariates; a column of ones is the intercept.
        example: [R], which example, the same number across clusters for the same example; empty where unknown.
    """

    low: Floats
    high: Floats
    weight: Floats
    cluster: Integers
    design: Floats
    example: Integers

    @property
    def clusters(self) -> int:
        """S."""
        return int(self.cluster.max()) + 1 if len(self.cluster) else 0
