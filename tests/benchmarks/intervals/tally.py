"""Counting how often intervals hold the truth."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Tally:
    """Of one design's studies."""

    refused: int = 0
    saturated: int = 0
    errors: dict[str, list[tuple[float, float, float, float]]] = field(default_factory=dict)

    def value(self, name: str, value: float | None, ends: tuple[float, float] | None, truth: float) -> None:
        """One estimate with its interval; None counts as no estimate."""
        if value is not None and ends is not None:
            self.errors.setdefault(name, []).append((value, *ends, truth))

    def count(self, name: str) -> int:
        """How many estimates of ``name`` there are."""
        return len(self.errors.get(name, []))

    def coverage(self, name: str) -> float:
        """Share of intervals that hold the truth."""
        _, low, high, truth = np.array(self.errors[name]).T
        return float(((low <= truth) & (truth <= high)).mean())

    def bias(self, name: str, relative: bool = True) -> float:
        """Mean error, as a share of the truth."""
        value, _, _, truth = np.array(self.errors[name]).T
        return float(((value - truth) / truth).mean() if relative else (value - truth).mean())

    def width(self, name: str) -> float:
        """Median width of the intervals."""
        _, low, high, _ = np.array(self.errors[name]).T
        return float(np.median(high - low))
