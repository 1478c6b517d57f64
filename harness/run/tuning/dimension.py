"""What may be tried of one parameter: some values, or a range of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DIGITS = 3
"""Significant digits of a number that is drawn: more tell nothing, and nobody reads them."""


@dataclass(frozen=True)
class Choices:
    """Some values, as a spec writes them."""

    name: str
    values: tuple[Any, ...]

    def __contains__(self, value: object) -> bool:
        return value in self.values

    def __str__(self) -> str:
        return f"{self.name}: {', '.join(map(str, self.values))}"


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included; ``log``: each doubling is as likely."""

    name: str
    low: float
    high: float
    integer: bool
    log: bool

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high

    def rounded(self, value: float) -> int | float:
        """A drawn number as it is tried, within the range."""
        if self.integer:
            return round(value)
        if value == 0:
            return 0.0
        digits = DIGITS - 1 - math.floor(math.log10(abs(value)))
        return min(max(round(float(value), digits), self.low), self.high)

    def __str__(self) -> str:
        return f"{self.name}: {self.low:g} to {self.high:g}" + (", on a log scale" if self.log else "")


Dimension = Choices | Range
Values = Mapping[str, Any]
"""A value of each dimension, by name."""


def words(values: Values) -> str:
    """Values in a line, ``candidates=64, keep=this_step``."""
    return ", ".join(f"{name}={value}" for name, value in values.items())
