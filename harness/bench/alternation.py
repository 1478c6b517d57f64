"""Rounds in which everything that is compared is timed once, one after another: what disturbs one disturbs all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median

Progress = Callable[[str, float, float], None]  # what, done, total


def alternate(
    timed: Mapping[str, Callable[[int], float]], rounds: int, progress: Progress = lambda _what, _done, _total: None
) -> dict[str, list[float]]:
    """What each call gives in each round, by name; the call is told the round, from 1.

    A round 0 comes first and does not count: it fills caches and finds chunk sizes.
    """
    found: dict[str, list[float]] = {name: [] for name in timed}
    steps = (rounds + 1) * len(timed)
    for number in range(rounds + 1):
        for place, (name, call) in enumerate(timed.items()):
            what = f"round {number} of {rounds}, {name}" if number else f"warm-up, {name}"
            progress(what, number * len(timed) + place, steps)
            value = call(number)
            if number:
                found[name].append(value)
    progress("done", steps, steps)
    return found


def ratio(over: list[float], under: list[float]) -> float:
    """Median of the ratios of each round."""
    return median(a / b for a, b in zip(over, under, strict=True))
