"""Attack scaling: how the odds of success grow with attack compute."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from leaderboard.data.table import IDENTITY, Table
from leaderboard.fit.likelihood.first_success import Kind, Observed, from_counts
from leaderboard.fit.likelihood.log_odds import LN10, LogOdds, fit_log_odds
from leaderboard.fit.likelihood.uncertainty import uncertainty_text
from leaderboard.fit.line import Line, ols
from leaderboard.number_format import UNKNOWN_COMPUTE

Floats = NDArray[np.float64]
Method = Literal["counts", "ols"]
MIN_SUCCESSES = 10  # with fewer the slope's interval holds the truth less often than it says
MIN_LATER = 5  # successes after the first step: those at the first tell nothing of the slope


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
        shape: the fitted curve with its saturation; None for ols and where nothing was fitted.
    """

    group: dict[str, Any]
    method: Method
    line: Line
    dropped: int
    seeds: int
    successes: int | None = None
    interval: str = ""
    asr: Kind = "so_far"
    shape: LogOdds | None = field(default=None, compare=False, repr=False)

    @property
    def asymptote(self) -> float | None:
        """The ASR at which the curve saturates; None when no saturation was seen. Odds are then those of ASR / this."""
        return None if self.shape is None else self.shape.asymptote

    def to_json(self) -> dict[str, Any]:
        """JSON data, flat."""
        out = self.group | {"method": self.method} | self.line.to_json()
        out |= {"n_dropped": self.dropped, "n_seeds": self.seeds, "interval": self.interval}
        if self.method == "ols":
            return out
        shape = self.shape
        low, high = (shape.asymptote_ci if shape else None) or (None, None)
        return out | {
            "n_successes": self.successes,
            "asr": self.asr,
            "asymptote": self.asymptote,
            "asymptote_low": low,
            "asymptote_high": high,
            "saturation_p": None if shape is None else shape.saturation_p,
            "spread_between_seeds": None if shape is None else shape.spread,
        }

    def band(self, compute: Floats) -> tuple[Floats, Floats, Floats]:
        """ASR at ``compute`` (above 0, a fraction of the reference compute) with its pointwise 95% interval, for a
        typical seed: (middle, low, high). Needs a slope.
        """
        place = np.log10(compute)
        if self.shape is not None:
            return self.shape.band(place)
        middle, low, high = (np.clip(LN10 * part, -700, 700) for part in self.line.band(place))
        return expit(middle), expit(low), expit(high)


def fit_attack_scaling(table: Table, method: Method = "counts", asr: Kind | None = None) -> list[AttackScaling]:
    """One fit per (task, family, attack, n_params) and, where the table has them, victim, threat, defense and round.

    ``counts``: see `from_observed`. ``asr``: what the table's counts are; when None, counts that fall say at_step.

    ``ols``, the method of "Scaling Trends in Language Model Robustness" (arXiv 2407.18213): ordinary least squares over
    seeds × iterations; points at ASR 0 or 1, and at no compute or unknown compute, are dropped; the first two bias
    curves that saturate or hardly rise. The interval takes all points as independent: it ignores that iterations of one
    seed follow the same examples, that seeds differ, and that a rate from few trials is noisier, so it is too narrow.
    """
    groups = table.groups(table.keys(*IDENTITY, "round"))
    if method == "ols":
        return [_least_squares(group, rows) for group, rows in groups]
    return [from_observed(group, from_counts(rows, asr)) for group, rows in groups]


def from_observed(group: dict[str, Any], seen: Observed) -> AttackScaling:
    """The counts method: maximum likelihood for first successes, each known to lie between two amounts of compute.

    Every attacked example counts once, whatever the number of steps; examples that were never broken count as such, and
    so do seeds that never were. Seeds shift the log-odds by a normal amount. With three seeds or more the intervals
    take both seeds and examples as draws, with fewer the examples alone.
    """
    note = _refusal(seen)
    shape = None if note else fit_log_odds(seen.rows, nested=seen.kind == "so_far")
    if shape is None or not shape.told:
        line = Line(None, None, None, seen.examples, note or "Not enough data: the successes do not tell a slope.")
        shape = None
    else:
        line = Line(shape.slope, shape.intercept, shape.slope_ci, seen.examples, "", shape.intercept_ci)
    return AttackScaling(
        group=group,
        method="counts",
        line=line,
        dropped=seen.dropped,
        seeds=seen.seeds,
        successes=seen.successes,
        interval=uncertainty_text(seen.seeds) if shape else "",
        asr=seen.kind,
        shape=shape,
    )


def _refusal(seen: Observed) -> str:
    if not seen.examples:
        return f"{UNKNOWN_COMPUTE}: nothing to fit." if seen.dropped else "Not enough data: nothing was attacked."
    short = f"Not enough data: {seen.successes} of {seen.examples} attacked examples fell"
    if seen.successes < MIN_SUCCESSES:
        return f"{short}, {MIN_SUCCESSES} are needed."
    if seen.later < MIN_LATER:
        return f"{short}, {seen.successes - seen.later} of them at the first step; {MIN_LATER} later ones are needed."
    return ""


def _least_squares(group: dict[str, Any], rows: Table) -> AttackScaling:
    won, tried, compute = rows["successes"], rows["trials"], rows["attack_compute"]
    use = (won > 0) & (won < tried) & (compute > 0)
    line = ols(np.log10(compute[use]), np.log10(won[use] / (tried[use] - won[use])))
    if np.isnan(compute).all():
        line = replace(line, note=f"{UNKNOWN_COMPUTE}: nothing to fit.")
    elif line.slope is None and not use.all():
        line = replace(line, note=f"{line.note} {_why(won, tried, compute)}")
    seeds = len(np.unique(rows["seed"]))
    return AttackScaling(group, "ols", line, int((~use).sum()), seeds, interval="points, as if independent")


def _why(won: Any, tried: Any, compute: Any) -> str:
    none, every, unspent = int((won == 0).sum()), int((won == tried).sum()), int((compute == 0).sum())
    unknown = int(np.isnan(compute).sum())
    more = f", {unknown} at unknown compute" if unknown else ""
    return f"Of {len(won)} points {none} are at ASR 0, {every} at ASR 1, {unspent} at no compute{more}."
