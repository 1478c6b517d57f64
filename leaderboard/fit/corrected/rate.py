"""ASR corrected for a judge's errors, with an interval that carries both uncertainties: of the run and of the judge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from harness.records.judge_calibration import JudgeCalibration
from leaderboard.fit.pooled_rates import Rate, wilson_bounds
from leaderboard.fit.seed_spread import UPPER

LEAST_YOUDEN = 0.1
"""Sensitivity + specificity − 1 below which a judge tells next to nothing, and nothing is corrected."""


@dataclass(frozen=True)
class Corrected:
    """A true rate and its 95% interval, each within 0 and 1; ``clipped``: whether the estimate lay beyond, and was cut
    off there.
    """

    value: float
    low: float
    high: float
    clipped: bool = False


def corrected_rate(seen: Rate, judge: JudgeCalibration) -> Corrected | str:
    """The share of true successes, where a judge saw the share ``seen``; or in words why there is none: the judge is
    hardly better than chance, or no true rate at all would have it see this.

    The estimate is that of Rogan and Gladen (1978). The interval is that of Lang and Reiczigel (2014), who add
    successes and failures to all three shares before they take the error of the estimate to be normal. Where seeds
    differ, the examples count as so many fewer as the interval of ``seen`` is wider than that of examples alone.
    """
    if judge.sensitivity + judge.specificity - 1 < LEAST_YOUDEN:
        return f"the judge's sensitivity and specificity together exceed 1 by less than {LEAST_YOUDEN:g}"
    z = float(ndtri(UPPER))
    trials = _effective_trials(seen, z)
    positives, negatives = judge.successes + 2, judge.failures + 2
    share = (trials * seen.value + z * z / 2) / (trials + z * z)
    hit, miss = (judge.true_positive + 1) / positives, (judge.true_negative + 1) / negatives
    youden = hit + miss - 1
    centre = (share + miss - 1) / youden
    of_hit, of_miss = hit * (1 - hit) / positives, miss * (1 - miss) / negatives
    shift = 2 * z * z * (centre * of_hit - (1 - centre) * of_miss)
    variance = share * (1 - share) / (trials + z * z) + centre**2 * of_hit + (1 - centre) ** 2 * of_miss
    half = z * float(np.sqrt(variance)) / youden
    low, high = centre + shift - half, centre + shift + half
    if high <= 0 or low >= 1:
        many = "fewer successes than its false alarms" if high <= 0 else "more successes than its hits"
        return f"the judge saw {many} alone would give: its errors here differ from those on labelled answers"
    value = (seen.value + judge.specificity - 1) / (judge.sensitivity + judge.specificity - 1)
    clipped = not 0 <= value <= 1
    low, high, value = (min(1.0, max(0.0, end)) for end in (low, high, value))
    return Corrected(value, min(low, value), max(high, value), clipped)


def _effective_trials(seen: Rate, z: float) -> float:
    """How many independent examples would give the interval of ``seen``; at most as many as there were."""
    low, high = wilson_bounds(np.array([seen.value]), np.array([z * z / seen.trials]))
    wider = (seen.high - seen.low) / float(high[0] - low[0])
    return seen.trials / max(1.0, wider) ** 2
