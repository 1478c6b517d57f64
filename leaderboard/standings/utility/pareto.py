"""Which rows of a table no other beats in both utility and robustness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from leaderboard.arrays import Booleans

Place = Literal["front", "within intervals", "beaten"]
"""On the front: no other row has at least as much of both and more of one. Beaten within intervals: one has, and could
be no better for all that is known. Beaten: the intervals of both shares lie above."""


@dataclass(frozen=True)
class Front:
    """Where a row stands among those of its own victim, and of the whole table; None where there is no other."""

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
    value, low, high = (
        np.array([[getattr(share, name) for share in point] for point in points]) for name in ("value", "low", "high")
    )
    # [P, P], whether the point of the row beats that of the column.
    beats = (value[:, None] >= value).all(axis=2) & (value[:, None] > value).any(axis=2)
    surely = (low[:, None] > high).all(axis=2)
    by_any: Booleans = np.asarray(np.any(beats, axis=0))
    certain: Booleans = np.asarray(np.any(surely, axis=0))
    pairs = zip(by_any, certain, strict=True)
    return ["beaten" if sure else "within intervals" if beaten else "front" for beaten, sure in pairs]
