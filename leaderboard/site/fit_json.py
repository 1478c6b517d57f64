"""Fits as the pages show them, whichever method made them: flat numbers, and a band to draw."""

from __future__ import annotations

from typing import cast

from leaderboard.arrays import Floats
from leaderboard.fit.attack_scaling import AttackScaling
from leaderboard.fit.offense_defense import OffenseDefense
from leaderboard.site.data_format import BandJson, FitJson
from leaderboard.standings.json_numbers import rounded

_KEYS = ("method", "slope", "slope_low", "slope_high", "intercept", "n", "n_censored", "note")
_KEYS_WITH_A_VALUE = ("interval", "asymptote", "asymptote_low", "asymptote_high", "saturation_p")
BAND_POINTS = 9


Fit = AttackScaling | OffenseDefense
"""A fit that pages draw."""


def fit_json(fit: Fit | None) -> FitJson | None:
    """The numbers of a fit that pages show, rounded."""
    if fit is None:
        return None
    numbers = fit.to_json()
    shown = {name: rounded(numbers[name]) for name in _KEYS if name in numbers}
    shown |= {name: rounded(numbers[name]) for name in _KEYS_WITH_A_VALUE if numbers.get(name) not in (None, "")}
    return cast(FitJson, shown)


def band_json(fit: Fit, compute: Floats, digits: int) -> BandJson:
    """The fitted curve at ``compute`` [n] (fractions of the reference compute) and its 95% interval, as lists. ASR for
    attack scaling; compute to the target for offense-defense. Call it for fits with a slope.
    """
    value, low, high = (rounded(curve.tolist(), digits) for curve in fit.band(compute))
    return {"value": value, "low": low, "high": high}
