"""Log-odds linear in y, fitted to intervals; with a test for saturation.

log10(ASR / (1 − ASR)) = intercept + slope · y, or with saturation the same of ASR / A, for the typical seed; a seed's
own log-odds are shifted by a normal amount.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, log_expit

from leaderboard.arrays import Floats
from leaderboard.fit.likelihood.likelihood import ClusteredEnds, clustered_ends
from leaderboard.fit.likelihood.maximum import Maximum, maximize_likelihood
from leaderboard.fit.likelihood.observations import Observations
from leaderboard.fit.likelihood.saturation import maximize_saturating, plain_start, saturation_p
from leaderboard.fit.likelihood.slope_spread import SlopeSpread, slope_spread
from leaderboard.fit.likelihood.uncertainty import Uncertainty, uncertainty
from leaderboard.fit.line import Band, Interval
from leaderboard.fit.seed_spread import MAX_LEVEL_SD, MAX_SLOPE_SD

LN10 = float(np.log(10.0))
SATURATION_P = 0.005  # saturation is reported, and the saturating curve taken, below this p-value
SURE_P, UNSURE_P = 0.0005, 0.2  # between them the slope's interval spans both curves
MAX_ERROR = 0.7  # of the slope, as a share of it, seeds held
_SLOPE = np.array([1.0, 0.0, 0.0])  # its direction among the parameters, the last of which may be missing


@dataclass(frozen=True)
class LogOddsCurve:
    """A fitted curve.

    Attributes:
        slope: decades of odds per unit of y, bias-corrected; ``slope_ci`` 95%.
        intercept: log10 odds at y = 0; ``intercept_ci`` 95%.
        asymptote: the ASR at which the curve saturates; None where no saturation was seen. ``asymptote_ci`` 95%.
        saturation_p: p-value of an asymptote of 1, see `saturation_p`.
        spread: standard deviation between seeds, decades of odds.
        centre: y was counted from here for the fit.
        maximum: where the likelihood is highest; ``uncertainty`` of its parameters.
        spans_both: whether the intervals hold those of the curve with, or without, saturation too, as it is not told
            which is right.
        slopes: how seeds differ in slope; None where that is not known.
    """

    slope: float
    slope_ci: Interval
    intercept: float
    intercept_ci: Interval
    asymptote: float | None
    asymptote_ci: Interval | None
    saturation_p: float
    spread: float
    centre: float
    maximum: Maximum
    uncertainty: Uncertainty
    spans_both: bool = False
    slopes: SlopeSpread | None = None

    @property
    def slope_is_known(self) -> bool:
        """Whether the data tell the slope at all: its standard error is below 0.7 of itself."""
        error = float(self.uncertainty.standard_error(_SLOPE[: len(self.maximum.parameters)]))
        return self.slope != 0 and error < MAX_ERROR * float(np.abs(self.maximum.beta[0]))

    def spanning(self, other: LogOddsCurve) -> LogOddsCurve:
        """With intervals for slope and intercept that hold those of ``other`` too."""
        return replace(
            self,
            slope_ci=_hull(self.slope_ci, other.slope_ci),
            intercept_ci=_hull(self.intercept_ci, other.intercept_ci),
            spans_both=True,
        )

    def band(self, y: Floats) -> Band:
        """ASR of a typical seed at ``y``."""
        middle, low, high = (expit(LN10 * log_odds) for log_odds in self.log_odds_band(y))
        return middle, low, high

    def log_odds_band(self, y: Floats) -> Band:
        """The same in log10 odds."""
        z = LN10 * (self.intercept + self.slope * y)
        direction = np.stack([y - self.centre, np.ones_like(y)], axis=-1)
        if self.asymptote is not None:
            share, asymptote = expit(z), self.asymptote
            rest = 1 - asymptote * share
            z = np.log(asymptote) + log_expit(z) - np.log(rest)
            # Derivatives of the log-odds of A · σ(z) in z and in logit A.
            in_z, in_logit = (1 - share) / rest, (1 - asymptote) / rest
            direction = np.concatenate([direction * in_z[..., None], in_logit[..., None]], axis=-1)
        half = self.uncertainty.half_interval(direction)
        return z / LN10, (z - half) / LN10, (z + half) / LN10


def fit_log_odds(observations: Observations, *, nested: bool = True) -> LogOddsCurve | None:
    """The fit; None when no maximum was found.

    Args:
        observations: with a design of ones.
        nested: each row is another example's first success. Else rows of one seed follow the same examples and carry
            weights that sum to their number.
    """
    low, high = observations.low, observations.high
    centre = float(np.median(np.concatenate([low[np.isfinite(low)], high[np.isfinite(high)]])))
    centred = replace(observations, low=low - centre, high=high - centre)
    data = clustered_ends(centred)
    plain = maximize_likelihood(data, plain_start(data))
    if plain is None:
        return None
    plain_uncertainty = _uncertainty(plain, data, nested)
    saturating = maximize_saturating(data, plain)
    p = 1.0 if saturating is None else saturation_p(centred, plain_uncertainty.overcounting())
    curve = curve_at_maximum(plain, plain_uncertainty, centre, p, nested)
    if saturating is not None and p < UNSURE_P:
        saturating_uncertainty = _uncertainty(saturating, data, nested)
        rival = curve_at_maximum(saturating, saturating_uncertainty, centre, p, nested)
        # A saturating curve that tells nothing is no rival.
        tells = saturating_uncertainty.standard_error(_SLOPE[: len(saturating.parameters)]) <= saturating.beta[0]
        if p < SATURATION_P:
            of_these = curve_at_maximum(plain, plain_uncertainty.of_these_seeds(), centre, p, nested)
            curve = rival if p < SURE_P else rival.spanning(of_these)
        elif tells:
            curve = curve.spanning(
                curve_at_maximum(saturating, saturating_uncertainty.of_these_seeds(), centre, p, nested)
            )
    return replace(curve, slopes=slope_spread(curve.maximum, data))


def _uncertainty(maximum: Maximum, data: ClusteredEnds, nested: bool) -> Uncertainty:
    return uncertainty(maximum, data, [MAX_SLOPE_SD * float(maximum.beta[0]), MAX_LEVEL_SD], floor=nested)


def curve_at_maximum(
    maximum: Maximum, uncertainty: Uncertainty, centre: float, saturation_p: float, nested: bool
) -> LogOddsCurve:
    """The curve at a maximum of which y was counted from ``centre``."""
    directions = np.zeros((3, len(maximum.parameters)))  # slope, intercept in log10; logit of the asymptote
    directions[0, 0] = 1 / LN10
    directions[1, :2] = np.array([-centre, 1.0]) / LN10
    directions[2, -1] = 1.0
    raw_slope = float(maximum.beta[0]) / LN10
    half = uncertainty.half_interval(directions)
    if nested:
        lost = (float(uncertainty.standard_error(directions[:1])[0]) / raw_slope) ** 2
        relative = float(half[0]) / raw_slope
        slope = raw_slope * max(0.0, 1 - lost)
        # The slope's error is that of a gamma variate, whose cube root is close to normal (Wilson and Hilferty 1931).
        low, high = (raw_slope * max(0.0, 1 - lost / 9 + sign * relative / 3) ** 3 for sign in (-1, 1))
    else:
        slope, low, high = raw_slope, raw_slope - float(half[0]), raw_slope + float(half[0])
    # Where the log-odds are known best a corrected slope changes nothing.
    pivot = -float(uncertainty.within[0, 1] / uncertainty.within[0, 0])
    intercept = float(maximum.beta[1]) / LN10 + raw_slope * pivot - slope * (pivot + centre)
    asymptote_ci = None
    if maximum.asymptote is not None:
        logit = float(maximum.parameters[2])
        asymptote_ci = (float(expit(logit - half[2])), float(expit(logit + half[2])))
    return LogOddsCurve(
        slope=slope,
        slope_ci=(low, high),
        intercept=intercept,
        intercept_ci=(intercept - float(half[1]), intercept + float(half[1])),
        asymptote=maximum.asymptote,
        asymptote_ci=asymptote_ci,
        saturation_p=saturation_p,
        spread=maximum.spread / LN10,
        centre=centre,
        maximum=maximum,
        uncertainty=uncertainty,
    )


def _hull(one: Interval, other: Interval) -> Interval:
    return min(one[0], other[0]), max(one[1], other[1])
