"""Rounds in which everything that is compared is timed once, one after another: what disturbs one disturbs all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median

from harness.api.victim import Progress

TimedCall = Callable[[int], float]
"""Called with the number of the round, from 1; gives seconds. Round 0 comes first and does not count."""


def no_progress(_what: str, _done: float, _total: float) -> None:
    """Show nothing."""


def alternate(calls: Mapping[str, TimedCall], rounds: int, progress: Progress = no_progress) -> dict[str, list[float]]:
    """Seconds of each call in each round, by name.

    A round 0 comes first and does not count: it fills caches and finds chunk sizes.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    steps = (rounds + 1) * len(calls)
    for number in range(rounds + 1):
        for at, (name, call) in enumerate(calls.items()):
            what = f"round {number} of {rounds}, {name}" if number else f"warm-up, {name}"
            progress(what, number * len(calls) + at, steps)
            value = call(number)
            if number:
                seconds[name].append(value)
    progress("done", steps, steps)
    return seconds


def median_ratio(over: list[float], under: list[float]) -> float:
    """Median of the ratios within each round."""
    return median(a / b for a, b in zip(over, under, strict=True))
