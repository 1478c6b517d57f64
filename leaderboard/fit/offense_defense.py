"""Offense against defense: what it costs to break a victim, against what was spent on defending it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from harness.errors import DataError
from leaderboard.arrays import Floats
from leaderboard.data.count_table import GROUP, CountTable, CurveGroup, make_count_table
from leaderboard.fit.attack_scaling import INDEPENDENT_POINTS
from leaderboard.fit.likelihood.censored_line import CensoredLine, fit_censored_line
from leaderboard.fit.likelihood.straightness import Straightness, straightness_of_bounds
from leaderboard.fit.likelihood.uncertainty import uncertainty_text
from leaderboard.fit.line import Band, Line, counted_points, ols, unfitted
from leaderboard.fit.offense_defense_pairs import OffenseDefensePairs, offense_defense_pairs
from leaderboard.table_numbers import UNKNOWN_COMPUTE, target_percent

Method = Literal["censored", "ols"]
MIN_BROKEN = 5  # pairs that must have been broken for the censored fit
DefenseKey = tuple[str, str, str, str]
"""Family, victim, defense and attack."""


@dataclass(frozen=True)
class OffenseDefense:
    """log10(compute to reach the target ASR) = intercept + slope · log10(defense compute).

    Both are fractions of the reference compute. Slope 1 is a stalemate; below 1 the attacker gains.

    Attributes:
        group: what the curves have in common: task, family, attack, n_params, and what else the table tells (victim,
            threat, defense).
        target: the attack success rate that counts as broken.
        method: censored, or ols, the study's.
        line: n counts (seed, round) pairs used; for the censored method those never broken are among them.
        censored: pairs that never reached the target within the attack's budget. ols leaves them out, which flatters
            the attacker.
        dropped: pairs that cannot stand on log axes: no defense compute, broken at no compute, or compute unknown.
        seeds: how many have a pair in use.
        stalemate_intercept: of the line of slope 1 through the middle of the data; None where nothing was fitted.
        interval: what the intervals are over, in words.
        straightness: whether a straight line fits; None where too few pairs were broken to tell.
        censored_line: the fit with its covariances; None for ols and where nothing was fitted.
    """

    group: CurveGroup
    target: float
    method: Method
    line: Line
    censored: int
    dropped: int
    seeds: int
    stalemate_intercept: float | None = None
    interval: str = ""
    straightness: Straightness | None = None
    censored_line: CensoredLine | None = field(default=None, compare=False, repr=False)

    @property
    def against_slope_1(self) -> str:
        """``below``, ``above`` or ``not told from`` slope 1; ``line does not fit``; "" where nothing was fitted.

        On a side only where the 95% interval lies there and the line was seen to be straight: a parabola has its slope
        on that side at both ends.
        """
        if self.line.slope_ci is None:
            return ""
        low, high = self.line.slope_ci
        if self.straightness is None:
            return "not told from"
        if self.straightness.is_bent:
            return "line does not fit"
        if high < 1 and max(self.straightness.slopes) < 1:
            return "below"
        return "above" if low > 1 and min(self.straightness.slopes) > 1 else "not told from"

    @property
    def line_fits(self) -> bool:
        """Whether the line may be drawn: it was fitted, and was not seen to be bent."""
        return self.line.slope is not None and not (self.straightness is not None and self.straightness.is_bent)

    def to_json(self) -> dict[str, Any]:
        """JSON data, flat."""
        return (
            {**self.group, "method": self.method, "target_asr": self.target}
            | self.line.to_json()
            | {
                "n_censored": self.censored,
                "n_dropped": self.dropped,
                "n_seeds": self.seeds,
                "against_slope_1": self.against_slope_1,
                "straight_p": None if self.straightness is None else self.straightness.p,
                "slope_1_intercept": self.stalemate_intercept,
                "interval": self.interval,
            }
        )

    def band(self, compute: Floats) -> Band:
        """Attack compute to the target at defense ``compute`` (both fractions of the reference). Needs a slope."""
        log_compute = np.log10(compute)
        line = self.line if self.censored_line is None else self.censored_line
        middle, low, high = line.band(log_compute)
        return 10**middle, 10**low, 10**high


def fit_offense_defense(table: CountTable, target: float, method: Method = "censored") -> list[OffenseDefense]:
    """One fit per (task, family, attack, n_params) and, where the table has them, victim, threat and defense.

    ``censored``: maximum likelihood for log10 compute to the target, known to lie between two iterations, or beyond the
    budget for pairs that were never broken; logistic errors, and a normal shift for each seed.

    ``ols``, the method of "Scaling Trends in Language Model Robustness" (arXiv 2407.18213): for each (seed, round) the
    compute at which ASR first reaches ``target``, by linear interpolation in compute between iterations; then ordinary
    least squares on log10 of both. Rounds of one seed share a training history, and censored pairs are left out; the
    interval knows of neither.

    Groups without any defense compute have no such curve and are left out.

    Raises:
        DataError: the table has no round or defense_compute, or no defense compute above 0.
    """
    if not 0 < target <= 1:
        raise DataError(f"target ASR {target} is not above 0 and at most 1. Give a rate such as 0.02.")
    for name in ("round", "defense_compute"):
        if name not in table:
            raise DataError(f"{table.source}: column {name!r} is missing. An offense-defense fit needs it.")
    groups = list(table.groups(table.available(*GROUP)))
    fits = [_fit_group(group, rows, target, method) for group, rows in groups if (rows["defense_compute"] != 0).any()]
    if not fits:
        raise DataError(
            f"{table.source}: no row with defense_compute above 0. Run the attack against a defense that costs compute."
        )
    return fits


def offense_defense_by_defense(tables: Sequence[CountTable], target: float) -> dict[DefenseKey, OffenseDefense]:
    """The fit over rounds and seeds of each defense that has two rounds or more.

    Args:
        tables: of rows with a round, of one section.
        target: attack success rate that counts as broken.
    """
    if not tables:
        return {}
    groups = _concatenated(tables).groups(["family", "victim", "defense", "attack"])
    several_rounds = [rows for _, rows in groups if len(np.unique(rows["round"])) > 1]
    if not several_rounds:
        return {}
    try:
        fits = fit_offense_defense(_concatenated(several_rounds), target)
    except DataError:  # no defense that costs compute
        return {}
    return {(fit.group["family"], fit.group["victim"], fit.group["defense"], fit.group["attack"]): fit for fit in fits}


def _concatenated(tables: Sequence[CountTable]) -> CountTable:
    columns = {name: np.concatenate([table[name] for table in tables]) for name in tables[0].columns}
    return make_count_table("records", columns)


def _fit_group(group: CurveGroup, rows: CountTable, target: float, method: Method) -> OffenseDefense:
    pairs = offense_defense_pairs(rows, target)
    never, used = pairs.never_broken, pairs.on_log_axes
    if method == "ols":
        used = used | never  # which the study does not look at
        used_pairs = pairs.subset(used & ~never)
        line, censored_line = ols(np.log10(used_pairs.defense), np.log10(used_pairs.crossing)), None
        mean_x = None if line.halves is None else line.halves.x
        interval = INDEPENDENT_POINTS
    else:
        used_pairs = pairs.subset(used)
        line, censored_line = _fit_censored(used_pairs)
        mean_x = None if censored_line is None else censored_line.mean_x
        interval = uncertainty_text(len(np.unique(used_pairs.seed)), "rounds")
    censored, dropped = int(never.sum()), int((~used).sum())
    if line.slope is None and (censored or dropped):
        unknown = np.isnan(pairs.defense + pairs.crossing)[~never]
        note = f"{UNKNOWN_COMPUTE}: nothing to fit." if unknown.size and unknown.all() else line.note
        line = replace(line, note=f"{note} {censored} of {len(never)} never reached ASR {target_percent(target)}.")
    stalemate_intercept, straightness = None, None
    if line.slope is not None:
        with np.errstate(divide="ignore"):
            x, low, high = (np.log10(amounts) for amounts in (used_pairs.defense, used_pairs.low, used_pairs.high))
        straightness = straightness_of_bounds(x, low, high, used_pairs.seed)
        line = replace(line, note=straightness.remark if straightness else "")
    if line.slope is not None and line.intercept is not None and mean_x is not None:
        stalemate_intercept = line.intercept + (line.slope - 1) * mean_x
    return OffenseDefense(
        group=group,
        target=target,
        method=method,
        line=line,
        censored=censored,
        dropped=dropped,
        seeds=len(np.unique(used_pairs.seed)),
        stalemate_intercept=stalemate_intercept,
        interval="" if stalemate_intercept is None else interval,
        straightness=straightness,
        censored_line=censored_line,
    )


def _fit_censored(pairs: OffenseDefensePairs) -> tuple[Line, CensoredLine | None]:
    never = pairs.never_broken
    broken, n = int((~never).sum()), len(pairs.seed)
    if broken < MIN_BROKEN:
        return unfitted(n, f"{counted_points(broken)} to fit, {MIN_BROKEN} needed."), None
    with np.errstate(divide="ignore"):
        x, low, high = (np.log10(amounts) for amounts in (pairs.defense, pairs.low, pairs.high))
    if np.ptp(x[~never]) <= 1e-9 * max(1.0, float(np.abs(x).max())):
        return unfitted(n, "all points have the same defense compute."), None
    censored_line = fit_censored_line(x, low, high, pairs.seed)
    if censored_line is None:
        # Points nearer to a line than the iterations tell: then where the study puts them.
        exact = np.where(never, 0.0, np.log10(np.where(never, 1.0, pairs.crossing)))
        censored_line = fit_censored_line(x, np.where(never, low, exact), np.where(never, np.inf, exact), pairs.seed)
    if censored_line is None:
        return unfitted(n, "the points do not determine a line."), None
    return censored_line.line, censored_line
