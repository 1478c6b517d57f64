"""Log-odds linear in a place y, fitted to intervals; with a test for saturation.

log10(ASR / (1 − ASR)) = intercept + slope · y, or with saturation the same of ASR / A, for the typical seed; a seed's
own log-odds are shifted by a normal amount.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, log_expit
from scipy.stats import chi2

from leaderboard.fit.likelihood.likelihood import Blocks, blocks
from leaderboard.fit.likelihood.maximum import Maximum, maximise
from leaderboard.fit.likelihood.rows import CountRows, Floats
from leaderboard.fit.likelihood.uncertainty import Uncertainty, uncertainty

LN10 = float(np.log(10.0))
SEEN = 0.005  # saturation is reported, and the saturating curve taken, below this p-value
MOST_ERROR = 0.7  # of the slope, seeds held
UNSURE = 0.2  # up to here the slope's interval spans both curves
SLOPE = np.array([1.0, 0.0, 0.0])
Interval = tuple[float, float]


@dataclass(frozen=True)
class LogOdds:
    """A fitted curve.

    Attributes:
        slope: decades of odds per unit of y, bias-corrected; ``slope_ci`` 95%.
        intercept: log10 odds at y = 0; ``intercept_ci`` 95%.
        asymptote: the ASR at which the curve saturates; None where no saturation was seen. ``asymptote_ci`` 95%.
        saturation_p: p-value of an asymptote of 1, by likelihood ratio.
        spread: standard deviation between seeds, decades of odds.
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
    found: Maximum
    doubt: Uncertainty

    @property
    def told(self) -> bool:
        """Whether the data tell the slope at all: its standard error is below 0.7 of itself."""
        return self.slope != 0 and float(self.doubt.error(SLOPE[: len(self.found.free)])) < MOST_ERROR * float(
            np.abs(self.found.beta[0])
        )

    def spanning(self, other: LogOdds) -> LogOdds:
        """With intervals for slope and intercept that hold those of ``other`` too."""
        return replace(
            self,
            slope_ci=_hull(self.slope_ci, other.slope_ci),
            intercept_ci=_hull(self.intercept_ci, other.intercept_ci),
        )

    def band(self, y: Floats) -> tuple[Floats, Floats, Floats]:
        """ASR of a typical seed at ``y`` and its pointwise 95% interval, (middle, low, high)."""
        odds = self.odds_band(y)
        middle, low, high = (expit(LN10 * part) for part in odds)
        return middle, low, high

    def odds_band(self, y: Floats) -> tuple[Floats, Floats, Floats]:
        """The same in log10 odds."""
        z = LN10 * (self.intercept + self.slope * y)
        direction = np.stack([y - self.centre, np.ones_like(y)], axis=-1)
        if self.asymptote is not None:
            part, top = expit(z), self.asymptote
            rest = 1 - top * part
            z = np.log(top) + log_expit(z) - np.log(rest)
            # Derivatives of the log-odds of A · σ(z) in z and in logit A.
            steep, lift = (1 - part) / rest, (1 - top) / rest
            direction = np.concatenate([direction * steep[..., None], lift[..., None]], axis=-1)
        half = self.doubt.half(direction)
        return z / LN10, (z - half) / LN10, (z + half) / LN10


def fit_log_odds(rows: CountRows, *, nested: bool = True) -> LogOdds | None:
    """The fit; None when no maximum was found.

    Args:
        rows: with a design of ones. ``nested``: each row is another observation's first success. Else rows of one seed
            follow the same examples and carry weights that sum to their number.
    """
    ends = np.concatenate([rows.low[np.isfinite(rows.low)], rows.high[np.isfinite(rows.high)]])
    centre = float(np.median(ends))
    moved = CountRows(rows.low - centre, rows.high - centre, rows.weight, rows.cluster, rows.design, rows.unit)
    data = blocks(moved)
    plain = maximise(data, _start(data))
    if plain is None:
        return None
    doubt = uncertainty(plain, data, floor=nested)
    bent = _saturating(data, plain)
    # Seeds that share examples tell less than the likelihood takes them to.
    ratio = 0.0 if bent is None else max(0.0, 2 * (bent.value - plain.value)) / doubt.repeats()
    # An asymptote of 1 is on the boundary: half of the time chance alone has no ratio at all (Self and Liang 1987).
    p = 0.5 * float(chi2.sf(ratio, 1)) if ratio else 1.0
    if bent is None or p >= UNSURE:
        return finish(plain, doubt, centre, p, nested)
    other = uncertainty(bent, data, floor=nested)
    if p < SEEN:
        return finish(bent, other, centre, p, nested)
    if other.error(SLOPE[: len(bent.free)]) > bent.beta[0]:  # a curve that tells nothing is no rival
        return finish(plain, doubt, centre, p, nested)
    return finish(plain, doubt, centre, p, nested).spanning(finish(bent, other.held(), centre, p, nested))


def _start(data: Blocks) -> Floats:
    events = float(data.events.sum())
    share = min(max(events / (events + float(data.weight[:, data.cut :].sum())), 0.01), 0.95)
    return np.array([1.5 * LN10, np.log(share / (1 - share))])


def _saturating(data: Blocks, plain: Maximum) -> Maximum | None:
    """The maximum with a free asymptote, where lowering it from 1 would raise the likelihood at all."""
    z = data.ends[:, data.cut :] @ plain.beta + plain.parts.mean[:, None]
    late, events = data.weight[:, data.cut :], float(data.events.sum())
    if float((late * np.exp(np.minimum(z, 500))).sum()) <= events:
        return None
    return maximise(data, plain.beta, min(0.97, 1.1 * events / (events + float(late.sum()))), near=plain)


def finish(found: Maximum, doubt: Uncertainty, centre: float, p: float, nested: bool) -> LogOdds:
    """The curve at a maximum of which y was counted from ``centre``; ``p`` of the test for saturation."""
    free = len(found.free)
    along = np.zeros((3, free))
    along[0, 0] = 1 / LN10
    along[1, :2] = np.array([-centre, 1.0]) / LN10
    along[2, -1] = 1.0
    raw = float(found.beta[0]) / LN10
    half = doubt.half(along)
    if nested:
        lost, relative = (float(doubt.error(along[:1])[0]) / raw) ** 2, float(half[0]) / raw
        slope = raw * max(0.0, 1 - lost)
        # The slope's error is that of a gamma variate, whose cube root is close to normal (Wilson and Hilferty 1931).
        ends = [raw * max(0.0, 1 - lost / 9 + sign * relative / 3) ** 3 for sign in (-1, 1)]
    else:
        slope, ends = raw, [raw - float(half[0]), raw + float(half[0])]
    middle = float(found.beta[1]) / LN10
    pivot = _pivot(doubt.within)
    intercept = middle + raw * pivot - slope * (pivot + centre)
    asymptote, top = found.asymptote, None
    if asymptote is not None:
        logit = float(found.free[2])
        top = (float(expit(logit - half[2])), float(expit(logit + half[2])))
    return LogOdds(
        slope=slope,
        slope_ci=(ends[0], ends[1]),
        intercept=intercept,
        intercept_ci=(intercept - float(half[1]), intercept + float(half[1])),
        asymptote=asymptote,
        asymptote_ci=top,
        saturation_p=p,
        spread=found.spread / LN10,
        centre=centre,
        found=found,
        doubt=doubt,
    )


def _hull(one: Interval, other: Interval) -> Interval:
    return min(one[0], other[0]), max(one[1], other[1])


def _pivot(within: Floats) -> float:
    """The place at which the log-odds are told best: there a corrected slope changes nothing."""
    return -float(within[0, 1] / within[0, 0])
