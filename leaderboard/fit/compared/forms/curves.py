"""Four forms of ASR over attack compute.

All are written in the same two numbers, so that their fits meet the same grids and bounds: the level, log-odds of the
ASR at the budget, and a shape. Compute is relative to the budget; where asks count, the budget is so many of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import expit, gammaln, logit

from leaderboard.arrays import Floats

FormName = Literal["logistic", "saturating", "beta", "power"]
SATURATION_PRICE = 6.635 / 2  # log-likelihood that an asymptote must be worth: p = 0.005, one-sided
_SHAPES = 64
_LOG_BETAS = np.linspace(-12.0, 30.0, 421)
_STEP = 1e-4


class Scale(NamedTuple):
    """What relative compute means: ``budget``, as a fraction of the reference compute, and how many ``asks`` it is."""

    budget: float
    asks: float


@dataclass(frozen=True)
class Form:
    """A form; all functions broadcast.

    Attributes:
        name: as options and JSON have it.
        formula: of ASR, as people write it.
        shapes: [G], a grid of the shape, and of the ``asymptotes`` [G] that go with it.
        asr: of level, shape, asymptote, relative compute (above 0; 0 is ASR 0) and asks; NaN where no such curve is.
        parameters: by name, of level, shape and `Scale`; none for the logistic, whose fit has its own machinery.
    """

    name: FormName
    formula: str
    shapes: Floats
    asymptotes: Floats
    asr: Callable[[Floats, Floats, Floats, Floats, float], Floats]
    parameters: Mapping[str, Callable[[Floats, Floats, Scale], Floats]]

    @property
    def price(self) -> Floats:
        """[G], what is taken off the log-likelihood where it chooses between shapes."""
        return np.where(self.asymptotes < 1, SATURATION_PRICE, 0.0)


def _logistic(level: Floats, shape: Floats, asymptote: Floats, at: Floats, asks: float) -> Floats:
    share = expit(level) / asymptote
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(asymptote == 1, level, logit(share)) + shape * np.log(at)
    return np.where(share < 1, asymptote * expit(z), np.nan)


def asymptote_of(level: Floats, shape: Floats) -> Floats:
    """Of the saturating exponential, above 1 where no such curve is."""
    return np.asarray(expit(level) / -np.expm1(-shape))


def _saturating(level: Floats, shape: Floats, asymptote: Floats, at: Floats, asks: float) -> Floats:
    top = asymptote_of(level, shape)
    return np.where(top <= 1, top * -np.expm1(-shape * at), np.nan)


def _power(level: Floats, shape: Floats, asymptote: Floats, at: Floats, asks: float) -> Floats:
    with np.errstate(divide="ignore", over="ignore"):
        return np.asarray(np.exp(-np.log1p(np.exp(-level)) * at**-shape))


def log_unbroken(alpha: Floats, beta: Floats, asks: Floats) -> Floats:
    """log B(α, β + asks) / B(α, β), of the chance that so many break none."""
    # Gamma functions of large numbers cancel; there the ratio Γ(x) / Γ(x + α) is (x + (α − 1) / 2)^−α.
    large = beta > 1e4 * (1 + alpha)
    middle, small = np.where(large, beta + (alpha - 1) / 2, 1.0), np.where(large, 1.0, beta)
    exact = gammaln(small + asks) - gammaln(alpha + small + asks) + (gammaln(alpha + small) - gammaln(small))
    return np.where(large, -alpha * np.log1p(asks / middle), exact)


def beta_of(level: Floats, alpha: Floats, asks: float) -> Floats:
    """The β at which so many asks break as large a share as ``level`` says."""
    level, alpha = np.broadcast_arrays(level, alpha)
    wanted, every = -np.log1p(np.exp(level)), np.asarray(asks)
    different, place = np.unique(alpha, return_inverse=True)
    table = log_unbroken(different[:, None], np.exp(_LOG_BETAS), every)
    found = np.empty(level.shape)
    for at in range(len(different)):
        own = place.reshape(alpha.shape) == at
        found[own] = np.interp(wanted[own], table[at], _LOG_BETAS)
    for _ in range(2):  # Newton's method, by differences
        off = log_unbroken(alpha, np.exp(found), every) - wanted
        rise = (log_unbroken(alpha, np.exp(found + _STEP), every) - wanted - off) / _STEP
        found = np.clip(found - np.clip(off / np.maximum(rise, 1e-12), -0.2, 0.2), _LOG_BETAS[0], _LOG_BETAS[-1])
    return np.asarray(np.exp(found))


def _beta(level: Floats, shape: Floats, asymptote: Floats, at: Floats, asks: float) -> Floats:
    return np.asarray(-np.expm1(log_unbroken(shape, beta_of(level, shape, asks), at * asks)))


_ONE = np.ones(_SHAPES)
_TOPS = np.array([0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9])
_STEEP = np.geomspace(0.1, 15.0, _SHAPES)
FORMS: dict[FormName, Form] = {
    form.name: form
    for form in (
        Form(
            "logistic",
            "log10 odds of ASR (of ASR / A where it saturates) = intercept + slope · log10 c",
            np.concatenate([_STEEP, np.tile(_STEEP[::2], len(_TOPS))]),
            np.concatenate([_ONE, np.repeat(_TOPS, _SHAPES // 2)]),
            _logistic,
            {},
        ),
        Form(
            "saturating",
            "ASR = A · (1 − exp(−c / τ))",
            np.geomspace(0.01, 100.0, _SHAPES),
            _ONE,
            _saturating,
            {
                "A": lambda level, shape, scale: np.minimum(asymptote_of(level, shape), 1.0),
                "tau": lambda level, shape, scale: scale.budget / shape + 0 * level,
            },
        ),
        Form(
            "beta",
            "ASR = 1 − B(α, β + n) / B(α, β)",
            np.geomspace(0.02, 300.0, _SHAPES),
            _ONE,
            _beta,
            {
                "alpha": lambda level, shape, scale: shape + 0 * level,
                "beta": lambda level, shape, scale: beta_of(level, shape, scale.asks),
            },
        ),
        Form(
            "power",
            "−ln ASR = a · n^−b",
            np.geomspace(0.02, 15.0, _SHAPES),
            _ONE,
            _power,
            {
                "a": lambda level, shape, scale: np.log1p(np.exp(-level)) * scale.asks**shape,
                "b": lambda level, shape, scale: shape + 0 * level,
            },
        ),
    )
}
"""By name, in the order in which they are shown where nothing tells them apart."""
