"""Which rows of a table no other beats in both utility and robustness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Place = Literal["front", "within intervals", "beaten"]
"""On the front: no other row has at least as much of both and more of one. Beaten within intervals: one has, and could
be no better for all that is known. Beaten: the intervals of both shares lie above."""


@dataclass(frozen=True)
class Front:
    """Where a row stands among those of its own victim, and of the whole table; None where no other is beside it."""

    victim: Place | None
    table: Place | None


class Share(Protocol):
    """A share with its 95% interval."""

    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


@dataclass(frozen=True)
class Held:
    """The share that no attack broke, with its 95% interval."""

    value: float
    low: float
    high: float


Point = tuple[Share, Share]
"""Utility and robustness of a row."""


def places(points: Sequence[Point]) -> list[Place | None]:
    """Of each point; None of a lone one."""
    if len(points) < 2:
        return [None] * len(points)
    return [_place(point, [other for other in points if other is not point]) for point in points]


def _place(point: Point, others: Sequence[Point]) -> Place:
    above = [other for other in others if _dominates(other, point)]
    if not above:
        return "front"
    certain = any(all(one.low > two.high for one, two in zip(other, point, strict=True)) for other in others)
    return "beaten" if certain else "within intervals"


def _dominates(one: Point, other: Point) -> bool:
    pairs = [(mine.value, theirs.value) for mine, theirs in zip(one, other, strict=True)]
    return all(mine >= theirs for mine, theirs in pairs) and any(mine > theirs for mine, theirs in pairs)
