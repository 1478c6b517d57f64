"""What the tables are made of: designs that are simulated, and counts of how often intervals hold the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

Figures = dict[str, float]
"""Heading to figure: shares where the heading is in `SHARES`, else plain numbers."""
SHARES = {
    "least held",
    "held on average",
    "most held",
    "slope held",
    "intercept held",
    "ASR held",
    "ASR at full budget held",
    "band held",
    "ols: slope held",
    "false order",
    "told apart correctly",
    "ASR@j held",
    "said not to fit",
    "said to be bent",
    "below 1 by the interval alone",
    "said to be below 1",
    "said to saturate",
    "said to differ in slope",
    "as judged: held on average",
    "passed at the margin",
    "said to lose more than it does",
    "true form alone",
    "undecided, true form among them",
    "true form ruled out",
    "first parameter held",
    "second parameter held",
}


class Design(Protocol):
    """A row of a table."""

    @property
    def name(self) -> str:
        """As the table has it."""
        ...

    def measure(self, rng: np.random.Generator, studies: int) -> Figures:
        """Simulate so many studies and count."""
        ...


def counted(seeds: int) -> str:
    """``1 seed``, ``2 seeds``."""
    return f"{seeds} seed" + "s" * (seeds > 1)


def coverage_figures(held: Sequence[float]) -> Figures:
    """Of several settings' shares."""
    return {"least held": min(held), "held on average": float(np.mean(held)), "most held": max(held)}


@dataclass
class Tally:
    """Estimates of several numbers with their intervals and truths."""

    refused: int = 0
    errors: dict[str, list[tuple[float, float, float, float]]] = field(default_factory=dict)

    def value(self, name: str, value: float | None, ends: tuple[float, float] | None, truth: float) -> None:
        """One estimate with its interval; None counts as no estimate."""
        if value is not None and ends is not None:
            self.errors.setdefault(name, []).append((value, *ends, truth))

    def figures(self, names: Sequence[str], slopes: Sequence[str] = ("slope",)) -> Figures:
        """How often each number's interval holds it; then the relative mean error and median width of ``slopes``."""
        found: Figures = {f"{name} held": self.coverage(name) for name in names}
        for name in slopes:
            found |= {f"{name}: bias": self.bias(name), f"{name}: width": self.width(name)}
        return found | {"refused": self.refused}

    def coverage(self, name: str) -> float:
        """Share of intervals that hold the truth; NaN without any."""
        if name not in self.errors:
            return float("nan")
        _, low, high, truth = np.array(self.errors[name]).T
        return float(((low <= truth) & (truth <= high)).mean())

    def bias(self, name: str) -> float:
        """Mean error, as a share of the truth."""
        if name not in self.errors:
            return float("nan")
        value, _, _, truth = np.array(self.errors[name]).T
        return float(((value - truth) / truth).mean())

    def width(self, name: str) -> float:
        """Median width of the intervals."""
        if name not in self.errors:
            return float("nan")
        _, low, high, _ = np.array(self.errors[name]).T
        return float(np.median(high - low))
