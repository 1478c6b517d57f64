"""Attack scaling: how the odds of success grow with attack compute."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from scipy.special import expit

from leaderboard.arrays import Floats, Integers
from leaderboard.data.count_table import GROUP, CountTable, CurveGroup
from leaderboard.data.trajectories import AsrKind
from leaderboard.fit.likelihood.first_successes import FirstSuccesses, first_successes_of_counts
from leaderboard.fit.likelihood.log_odds import LN10, LogOddsCurve, fit_log_odds
from leaderboard.fit.likelihood.uncertainty import uncertainty_text
from leaderboard.fit.line import Band, Line, ols, unfitted
from leaderboard.table_numbers import UNKNOWN_COMPUTE

Method = Literal["counts", "ols"]
MIN_SUCCESSES = 10  # with fewer the slope's interval holds the truth less often than it says
SLOPES_DIFFER_P = 0.005  # below this p-value of equal slopes seeds are said to differ
MIN_LATER_SUCCESSES = 5  # after the first step: those at the first tell nothing of the slope
INDEPENDENT_POINTS = "points, as if independent"  # what the intervals of ols are over


@dataclass(frozen=True)
class AttackScaling:
    """log10(ASR / (1 − ASR)) = intercept + slope · log10(attack compute / reference compute), for one group of curves.

    Attributes:
        group: what the curves have in common: task, family, attack, n_params, and what else the table tells (victim,
            threat, defense, round).
        method: counts, or ols, the study's.
        line: slope in decades of odds per decade of compute. n counts attacked examples of all seeds; for ols points
            (seeds × iterations) used.
        dropped: counts: examples of unknown compute, or broken before anything was spent. ols: points left out because
            ASR or compute was 0, ASR 1, or compute unknown.
        seeds: how many seeds the group has.
        successes: examples broken within the budget; None for ols.
        interval: what the intervals are over, in words.
        asr: so_far, or at_step where the counts are successes at each step.
        curve: the fitted curve with its saturation; None for ols and where nothing was fitted.
    """

    group: CurveGroup
    method: Method
    line: Line
    dropped: int
    seeds: int
    successes: int | None = None
    interval: str = ""
    asr: AsrKind = "so_far"
    curve: LogOddsCurve | None = field(default=None, compare=False, repr=False)

    @property
    def asymptote(self) -> float | None:
        """The ASR at which the curve saturates; None when no saturation was seen. Odds are then those of ASR / this."""
        return None if self.curve is None else self.curve.asymptote

    def to_json(self) -> dict[str, Any]:
        """JSON data, flat."""
        common = {**self.group, "method": self.method} | self.line.to_json()
        common |= {"n_dropped": self.dropped, "n_seeds": self.seeds, "interval": self.interval}
        if self.method == "ols":
            return common
        curve = self.curve
        low, high = (curve.asymptote_ci if curve else None) or (None, None)
        return common | {
            "n_successes": self.successes,
            "asr": self.asr,
            "asymptote": self.asymptote,
            "asymptote_low": low,
            "asymptote_high": high,
            "saturation_p": None if curve is None else curve.saturation_p,
            "spread_between_seeds": None if curve is None else curve.spread,
            "slope_spread_between_seeds": None if curve is None or curve.slopes is None else curve.slopes.spread,
            "slopes_differ_p": None if curve is None or curve.slopes is None else curve.slopes.p,
        }

    def band(self, compute: Floats) -> Band:
        """ASR at ``compute`` (above 0, a fraction of the reference compute), for a typical seed. Needs a slope."""
        log_compute = np.log10(compute)
        if self.curve is not None:
            return self.curve.band(log_compute)
        middle, low, high = (np.clip(LN10 * log_odds, -700, 700) for log_odds in self.line.band(log_compute))
        return expit(middle), expit(low), expit(high)


def fit_attack_scaling(table: CountTable, method: Method = "counts", asr: AsrKind | None = None) -> list[AttackScaling]:
    """One fit per (task, family, attack, n_params) and, where the table has them, victim, threat, defense and round.

    ``counts``: see `fit_first_successes`. ``asr``: what the table's counts are; when None, counts that fall say so.

    ``ols``, the method of "Scaling Trends in Language Model Robustness" (arXiv 2407.18213): ordinary least squares over
    seeds × iterations; points at ASR 0 or 1, and at no compute or unknown compute, are dropped; the first two bias
    curves that saturate or hardly rise. The interval takes all points as independent: it ignores that iterations of one
    seed follow the same examples, that seeds differ, and that a rate from few trials is noisier, so it is too narrow.
    """
    groups = table.groups(table.available(*GROUP, "round"))
    if method == "ols":
        return [_least_squares(group, rows) for group, rows in groups]
    return [fit_first_successes(group, first_successes_of_counts(rows, asr)) for group, rows in groups]


def fit_first_successes(group: CurveGroup, first_successes: FirstSuccesses) -> AttackScaling:
    """The counts method: maximum likelihood for first successes, each known to lie between two amounts of compute.

    Every attacked example counts once, whatever the number of steps; examples that were never broken count as such, and
    so do seeds that never were. Seeds shift the log-odds by a normal amount. With two seeds or more the intervals
    take both seeds and examples as draws, with one the examples alone.
    """
    refusal = too_few_successes(first_successes)
    curve = None if refusal else fit_log_odds(first_successes.observations, nested=first_successes.kind == "so_far")
    n = first_successes.examples
    if refusal:
        line = Line(None, None, None, n, refusal)
    elif curve is None or not curve.slope_is_known:
        line, curve = unfitted(n, "the successes do not determine a slope."), None
    else:
        line = Line(curve.slope, curve.intercept, curve.slope_ci, n, _remarks(curve), curve.intercept_ci)
    return AttackScaling(
        group=group,
        method="counts",
        line=line,
        dropped=first_successes.dropped,
        seeds=first_successes.seeds,
        successes=first_successes.successes,
        interval=uncertainty_text(first_successes.seeds) if curve else "",
        asr=first_successes.kind,
        curve=curve,
    )


def too_few_successes(first_successes: FirstSuccesses) -> str:
    """Why there are too few successes for a fit, or ""."""
    examples, successes, later = first_successes.examples, first_successes.successes, first_successes.later
    if not examples and first_successes.unspent:
        return "No compute above 0: nothing to fit."
    if not examples:
        return (
            f"{UNKNOWN_COMPUTE}: nothing to fit."
            if first_successes.dropped
            else "Not enough data: nothing was attacked."
        )
    counts = f"Not enough data: {successes} of {examples} attacked examples fell"
    if successes < MIN_SUCCESSES:
        return f"{counts}, {MIN_SUCCESSES} are needed."
    if later < MIN_LATER_SUCCESSES:
        return f"{counts}, {successes - later} of them at the first step; {MIN_LATER_SUCCESSES} later ones are needed."
    return ""


def _remarks(curve: LogOddsCurve) -> str:
    """What a reader should know of the fitted curve, or ""."""
    remarks = []
    if curve.spans_both:
        remarks.append(
            f"It is undecided whether the curve saturates (p = {curve.saturation_p:.2g}): the intervals cover both "
            f"cases."
        )
    if curve.slopes is not None and curve.slopes.p < SLOPES_DIFFER_P:
        factor = float(np.exp(curve.slopes.spread))
        remarks.append(f"Seeds differ in slope, by a factor of {factor:.2f} (one standard deviation).")
    return " ".join(remarks)


def _least_squares(group: CurveGroup, rows: CountTable) -> AttackScaling:
    successes, trials, compute = rows["successes"], rows["trials"], rows["attack_compute"]
    used = (successes > 0) & (successes < trials) & (compute > 0)
    line = ols(np.log10(compute[used]), np.log10(successes[used] / (trials[used] - successes[used])))
    if np.isnan(compute).all():
        line = replace(line, note=f"{UNKNOWN_COMPUTE}: nothing to fit.")
    elif line.slope is None and not used.all():
        line = replace(line, note=f"{line.note} {_why_dropped(successes, trials, compute)}")
    seeds = len(np.unique(rows["seed"]))
    return AttackScaling(group, "ols", line, int((~used).sum()), seeds, interval=INDEPENDENT_POINTS)


def _why_dropped(successes: Integers, trials: Integers, compute: Floats) -> str:
    none, all_, unspent = int((successes == 0).sum()), int((successes == trials).sum()), int((compute == 0).sum())
    unknown = int(np.isnan(compute).sum())
    more = f", {unknown} at unknown compute" if unknown else ""
    return f"Of {len(successes)} points {none} are at ASR 0, {all_} at ASR 1, {unspent} at no compute{more}."
