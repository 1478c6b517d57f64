"""Defenses at the same amount of what they spend: whose fitted ASR is lower there?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import hypot, log
from typing import Any

import numpy as np

from harness.errors import DataError
from leaderboard.fit.defense_efficiency import Efficiency


@dataclass(frozen=True)
class AtAmount:
    """Two defenses of one victim at one amount.

    Attributes:
        group: what both have in common.
        first, second: labels of the defenses.
        amount: what both spend.
        log_odds_ratio: ln of the odds of success against the first over those against the second; below 0 the first
            protects better.
        low, high: 95% interval of that.
    """

    group: dict[str, Any]
    first: str
    second: str
    amount: float
    log_odds_ratio: float
    low: float
    high: float

    @property
    def told_apart(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def compare_at(fits: Sequence[Efficiency], amount: float) -> list[AtAmount]:
    """All pairs of defenses whose fits are of the same victim, task, attack and threat.

    The interval is that for a difference of two estimates (Zou and Donner 2008), made of the bands of both fits. Seeds
    that both defenses share make it wider than it need be. It holds for one pair: of twenty, one is told apart by
    chance.
    """
    usable = [(fit, _log_odds(fit, amount)) for fit in fits if fit.line.slope is not None and "defense" in fit.group]
    found = []
    for (a, (at_a, low_a, high_a)), (b, (at_b, low_b, high_b)) in combinations(usable, 2):
        shared = {name: value for name, value in a.group.items() if name != "defense"}
        if shared != {name: value for name, value in b.group.items() if name != "defense"}:
            continue
        difference = at_a - at_b
        low = difference - hypot(at_a - low_a, high_b - at_b)
        high = difference + hypot(high_a - at_a, at_b - low_b)
        found.append(AtAmount(shared, str(a.group["defense"]), str(b.group["defense"]), amount, difference, low, high))
    return found


def with_asr_at(fit: Efficiency, amount: float | None) -> dict[str, Any]:
    """A fit as flat JSON data, with the ASR at an amount and its 95% interval; null where nothing was fitted.

    Raises:
        DataError: there is no such amount on the axis of the fit.
    """
    if amount is None:
        return fit.to_json()
    if fit.scale == "log" and not amount > 0:
        raise DataError(f"--at {amount:g}: on a log axis an amount is above 0. Give another, or --scale linear.")
    rates = [None, None, None] if fit.line.slope is None else [float(part[0]) for part in fit.band(np.array([amount]))]
    names = ("asr_at", "asr_at_low", "asr_at_high")
    return fit.to_json() | {"at": amount} | dict(zip(names, rates, strict=True))


def _log_odds(fit: Efficiency, amount: float) -> tuple[float, float, float]:
    """In nats."""
    middle, low, high = (float(part[0]) * log(10) for part in fit.log_odds_band(np.array([amount])))
    return middle, low, high
