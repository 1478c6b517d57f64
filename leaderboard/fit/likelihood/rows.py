"""Observations as intervals: how much compute it took, known only to lie between two amounts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


@dataclass(frozen=True)
class CountRows:
    """R observations in S clusters (seeds), each of a place y with low < y <= high.

    Attributes:
        low: [R], -inf when nothing bounds y from below.
        high: [R], inf for an observation that is right-censored.
        weight: [R], how many observations this row stands for.
        cluster: [R], 0 … S - 1.
        design: [R, P], covariates; a column of ones is the intercept.
        unit: [R], which example, the same number across clusters for the same example; empty where nobody knows.
    """

    low: Floats
    high: Floats
    weight: Floats
    cluster: Whole
    design: Floats
    unit: Whole

    @property
    def clusters(self) -> int:
        return int(self.cluster.max()) + 1 if len(self.cluster) else 0

    def of(self, cluster: int) -> CountRows:
        """The rows of one cluster."""
        own = self.cluster == cluster
        unit = self.unit[own] if len(self.unit) else self.unit
        return CountRows(self.low[own], self.high[own], self.weight[own], self.cluster[own], self.design[own], unit)


def joined(parts: Sequence[CountRows]) -> CountRows:
    """All rows of ``parts``, one after the other; units only where all parts know them."""
    known = all(len(part.unit) == len(part.low) for part in parts)
    unit = np.concatenate([part.unit for part in parts]) if known else np.empty(0, dtype=np.int64)
    return CountRows(
        np.concatenate([part.low for part in parts]),
        np.concatenate([part.high for part in parts]),
        np.concatenate([part.weight for part in parts]),
        np.concatenate([part.cluster for part in parts]),
        np.concatenate([part.design for part in parts]),
        unit,
    )
