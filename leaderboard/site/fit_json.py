"""Fits as the pages show them, whichever method made them: flat numbers, and a band to draw."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from leaderboard.standings.json_numbers import rounded

Floats = NDArray[np.float64]
SHOWN = ("method", "slope", "slope_low", "slope_high", "intercept", "n", "n_censored", "note")
SHOWN_WHERE_THERE = ("interval", "asymptote", "asymptote_low", "asymptote_high", "saturation_p")


class Fit(Protocol):
    """`AttackScaling` or `OffenseDefense`."""

    def to_json(self) -> dict[str, Any]:
        """Flat: method, slope, its interval, intercept, n, note."""
        ...

    def band(self, compute: Floats) -> tuple[Floats, Floats, Floats]:
        """Middle, low and high at ``compute``."""
        ...


def fit_json(fit: Fit | None) -> dict[str, Any] | None:
    """The keys of `SHOWN`, and those of `SHOWN_WHERE_THERE` that the method gives; ``slope`` is null where there is not
    enough data, and ``note`` says why.
    """
    if fit is None:
        return None
    found = fit.to_json()
    low, high = found.get("slope_ci") or (None, None)
    found = {"slope_low": low, "slope_high": high} | found
    shown = {name: rounded(found[name]) for name in SHOWN if name in found}
    return shown | {name: rounded(found[name]) for name in SHOWN_WHERE_THERE if found.get(name) not in (None, "")}


def band_json(fit: Fit, compute: Floats, digits: int) -> dict[str, Any]:
    """The fitted curve at ``compute`` [n] (fractions of the reference compute) and its 95% interval, as lists. ASR for
    attack scaling; compute to the target for offense-defense. Call it for fits with a slope.
    """
    lines = zip(("value", "low", "high"), fit.band(compute), strict=True)
    return {name: rounded(line.tolist(), digits) for name, line in lines}
