"""Offense against defense: what it costs to break a victim, against what was spent on defending it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from leaderboard.data.table import IDENTITY, Table
from leaderboard.fit.likelihood.censored import Censored, fit_censored
from leaderboard.fit.likelihood.uncertainty import uncertainty_text
from leaderboard.fit.line import Line, ols, points
from leaderboard.fit.reach import Reach, reach
from leaderboard.number_format import UNKNOWN_COMPUTE

Floats = NDArray[np.float64]
Method = Literal["censored", "ols"]
MIN_REACHED = 5  # pairs that must have been broken for the censored fit


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
        stalemate: the intercept of the line of slope 1 through the middle of the data; None where nothing was fitted.
        interval: what the intervals are over, in words.
    """

    group: dict[str, Any]
    target: float
    method: Method
    line: Line
    censored: int
    dropped: int
    seeds: int
    stalemate: float | None = None
    interval: str = ""
    shape: Censored | None = field(default=None, compare=False, repr=False)

    @property
    def against_one(self) -> str:
        """``below``, ``above`` or ``not told from`` slope 1, by the 95% interval; "" where nothing was fitted."""
        if self.line.slope_ci is None:
            return ""
        low, high = self.line.slope_ci
        return "below" if high < 1 else "above" if low > 1 else "not told from"

    def to_json(self) -> dict[str, Any]:
        """JSON data, flat."""
        return (
            self.group
            | {"method": self.method, "target_asr": self.target}
            | self.line.to_json()
            | {
                "n_censored": self.censored,
                "n_dropped": self.dropped,
                "n_seeds": self.seeds,
                "against_slope_1": self.against_one,
                "slope_1_intercept": self.stalemate,
                "interval": self.interval,
            }
        )

    def band(self, compute: Floats) -> tuple[Floats, Floats, Floats]:
        """Attack compute to the target at defense ``compute`` (both fractions of the reference), with its pointwise 95%
        interval: (middle, low, high). Needs a slope.
        """
        place = np.log10(compute)
        middle, low, high = self.line.band(place) if self.shape is None else self.shape.band(place)
        return 10**middle, 10**low, 10**high


def fit_offense_defense(table: Table, target: float, method: Method = "censored") -> list[OffenseDefense]:
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
    groups = list(table.groups(table.keys(*IDENTITY)))
    fits = [_fit(group, rows, target, method) for group, rows in groups if (rows["defense_compute"] != 0).any()]
    if not fits:
        raise DataError(
            f"{table.source}: no row with defense_compute above 0. Run the attack against a defense that costs compute."
        )
    return fits


def _fit(group: dict[str, Any], rows: Table, target: float, method: Method) -> OffenseDefense:
    pairs = reach(rows, target)
    never, use = pairs.never, pairs.on_axes
    if method == "ols":
        use = use | never  # which the study does not look at
        kept = pairs.only(use & ~never)
        line, shape = ols(np.log10(kept.spent), np.log10(kept.at)), None
        middle = None if line.scatter is None else line.scatter[0]
        words = "points, as if independent"
    else:
        kept = pairs.only(use)
        line, shape = _censored(kept)
        middle, words = None if shape is None else shape.centre, uncertainty_text(len(np.unique(kept.seed)), "rounds")
    censored, dropped = int(never.sum()), int((~use).sum())
    if line.slope is None and (censored or dropped):
        unknown = np.isnan(pairs.spent + pairs.at)[~never]
        note = f"{UNKNOWN_COMPUTE}: nothing to fit." if unknown.size and unknown.all() else line.note
        line = replace(line, note=f"{note} {censored} of {len(never)} never reached ASR {target:g}.")
    stalemate = None
    if line.slope is not None and line.intercept is not None and middle is not None:
        stalemate = line.intercept + (line.slope - 1) * middle
    return OffenseDefense(
        group=group,
        target=target,
        method=method,
        line=line,
        censored=censored,
        dropped=dropped,
        seeds=len(np.unique(kept.seed)),
        stalemate=stalemate,
        interval="" if stalemate is None else words,
        shape=shape,
    )


def _censored(pairs: Reach) -> tuple[Line, Censored | None]:
    reached = int((~pairs.never).sum())
    n = len(pairs.seed)
    if reached < MIN_REACHED:
        return Line(None, None, None, n, f"Not enough data: {points(reached)} to fit, {MIN_REACHED} needed."), None
    with np.errstate(divide="ignore"):
        x, low, high = (np.log10(part) for part in (pairs.spent, pairs.low, pairs.high))
    if np.ptp(x[~pairs.never]) <= 1e-9 * max(1.0, float(np.abs(x).max())):
        return Line(None, None, None, n, "Not enough data: all points have the same defense compute."), None
    shape = fit_censored(x, low, high, pairs.seed)
    if shape is None:
        # Points nearer to a line than the iterations tell: then where the study puts them.
        at = np.where(pairs.never, 0.0, np.log10(np.where(pairs.never, 1.0, pairs.at)))
        shape = fit_censored(x, np.where(pairs.never, low, at), np.where(pairs.never, np.inf, at), pairs.seed)
    if shape is None:
        return Line(None, None, None, n, "Not enough data: the points do not tell a line."), None
    return shape.line, shape
