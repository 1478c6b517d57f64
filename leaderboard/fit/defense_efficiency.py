"""What a defense buys: ASR at a fixed attack against rounds of training, its compute, or any other amount."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from harness.errors import DataError
from leaderboard.arrays import Floats
from leaderboard.data.count_table import GROUP, NUMBERS, CountTable, CurveGroup
from leaderboard.fit.attack_scaling import INDEPENDENT_POINTS, Method
from leaderboard.fit.likelihood.log_odds import LogOddsCurve
from leaderboard.fit.likelihood.rates import fit_rates
from leaderboard.fit.likelihood.straightness import Straightness, straightness_of_rates
from leaderboard.fit.likelihood.uncertainty import uncertainty_text
from leaderboard.fit.line import Band, Line, counted_points, ols, unfitted
from leaderboard.fit.offense_defense_pairs import single_value

Scale = Literal["log", "linear"]
Ends = tuple[float | None, float | None]
MIN_RATES = 4  # (seed, x) pairs
SETTINGS = "settings"  # column of whole labels of defenses, besides their names alone
MAX_EXTRAPOLATION = 2.0  # how far beyond the data, as a multiple of their extent, a crossing is still stated


@dataclass(frozen=True)
class Efficiency:
    """log10(ASR / (1 − ASR)) = intercept + slope · x, x = log10 of the amount or the amount itself.

    Attributes:
        group: what the rates have in common: task, family, attack, n_params, and what else the table tells.
        x: name of the amount.
        scale: log or linear.
        method: counts, or ols on the log-odds with rates of 0 and 1 left out.
        line: n counts (seed, amount) pairs used.
        dropped: pairs left out: an amount unknown, or not above 0 on a log axis; for ols also rates of 0 and 1.
        seeds: how many.
        target: an ASR.
        at_target: the amount that brings ASR to ``target``; None where the curve does not cross it near the data.
        at_target_ci: its 95% interval; an end is None where the interval has none near the data, both where a straight
            line does not fit.
        interval: what the intervals are over, in words.
        straightness: whether a straight line fits; None where there are too few rates to tell.
        curve: the fit with its covariances; None for ols and where nothing was fitted.
    """

    group: CurveGroup
    x: str
    scale: Scale
    method: Method
    line: Line
    dropped: int
    seeds: int
    target: float
    at_target: float | None = None
    at_target_ci: Ends = (None, None)
    interval: str = ""
    straightness: Straightness | None = None
    curve: LogOddsCurve | None = field(default=None, compare=False, repr=False)

    def to_json(self) -> dict[str, Any]:
        """JSON data, flat."""
        return (
            {**self.group, "method": self.method, "x": self.x, "scale": self.scale}
            | self.line.to_json()
            | {
                "target_asr": self.target,
                "x_at_target": self.at_target,
                "x_at_target_low": self.at_target_ci[0],
                "x_at_target_high": self.at_target_ci[1],
                "straight_p": None if self.straightness is None else self.straightness.p,
                "n_dropped": self.dropped,
                "n_seeds": self.seeds,
                "interval": self.interval,
            }
        )

    def band(self, amount: Floats) -> Band:
        """ASR at ``amount``, for a typical seed. Needs a slope."""
        middle, low, high = (1 / (1 + 10.0 ** -np.clip(part, -300, 300)) for part in self.log_odds_band(amount))
        return middle, low, high

    def log_odds_band(self, amount: Floats) -> Band:
        """The same in log10 odds, which are not cut off near 0 and 1."""
        return _log_odds_band(self.line, self.curve, np.log10(amount) if self.scale == "log" else amount)


def fit_efficiency(
    table: CountTable,
    x: str = "defense_compute",
    method: Method = "counts",
    scale: Scale = "log",
    target: float = 0.1,
    attack_compute: float | None = None,
) -> list[Efficiency]:
    """One fit per (task, family, attack, n_params) and, where the table has them, victim, threat and defense.

    Args:
        table: rates at each iteration; each curve counts once, at its last iteration.
        x: any column of numbers: ``round`` is sample efficiency, ``defense_compute`` compute efficiency,
            ``inference_compute`` the defender's compute per answer.
        target: the ASR whose amount is asked for.
        attack_compute: take each curve at its last iteration within this much attack compute instead (fraction of the
            reference compute).

    Raises:
        DataError: the table has no such column, or no two amounts.
    """
    if not 0 < target < 1:
        raise DataError(f"target ASR {target} is not between 0 and 1. Give a rate such as 0.1.")
    if x not in table or x not in NUMBERS:
        raise DataError(f"{table.source}: no column {x!r} of numbers. It has: {', '.join(table.available(*NUMBERS))}.")
    fits = []
    for group, rows in _settings_apart(table, x).groups(table.available(*(name for name in GROUP if name != x))):
        if len(np.unique(rows[x])) > 1:
            fits.append(_fit_group(group, _rates(rows, x, attack_compute), x, method, scale, target))
    if not fits:
        raise DataError(f"{table.source}: {x} is the same in all rows of each curve. Nothing to compare.")
    return fits


def _settings_apart(table: CountTable, x: str) -> CountTable:
    """With a defense's settings left out of its label where they are what ``x`` is about, and kept in a column."""
    if x in ("round", "defense_compute") or "defense" not in table:
        return table
    names = np.array([_without_settings(label) for label in table["defense"]], dtype=object)
    return CountTable(table.source, {**table.columns, "defense": names, SETTINGS: table["defense"]})


def _without_settings(label: str) -> str:
    """``a(x=f(1)) + b (static)`` is ``a + b (static)``: settings follow a name without a space. Letter by letter, as no
    regular expression counts brackets.
    """
    kept, depth, before = [], 0, " "
    for letter in label:
        if letter == "(" and (depth or before not in " ("):
            depth += 1
        elif depth:
            depth -= letter == ")"
        else:
            kept.append(letter)
        before = letter
    return "".join(kept)


def _rates(rows: CountTable, x: str, budget: float | None) -> Floats:
    """Seed, amount, successes, trials of each curve, [N, 4]."""
    rates = []
    names = ["seed", "round"] if x in ("round", "defense_compute") else ["seed", "round", x, SETTINGS]
    for group, curve in rows.groups(rows.available(*names)):
        iteration = curve["iteration"]
        if budget is not None:
            iteration = np.where(curve["attack_compute"] <= budget, iteration, -1)
        last = int(iteration.argmax())
        if iteration[last] >= 0:
            rates.append((group["seed"], single_value(curve, x), curve["successes"][last], curve["trials"][last]))
    return np.array(rates, dtype=np.float64).reshape(-1, 4)


def _fit_group(group: CurveGroup, rates: Floats, x: str, method: Method, scale: Scale, target: float) -> Efficiency:
    seed, amount, successes, trials = rates.T
    used = ~np.isnan(amount) & ((amount > 0) | (scale == "linear"))
    if method == "ols":
        used &= (successes > 0) & (successes < trials)
    position = np.log10(amount[used]) if scale == "log" else amount[used]
    seeds = len(np.unique(seed[used]))
    curve = None
    if method == "ols":
        line = ols(position, np.log10(successes[used] / (trials - successes)[used]))
        interval = INDEPENDENT_POINTS
    else:
        line, curve = _fit_counts(position, successes[used], trials[used], seed[used])
        interval = uncertainty_text(seeds, "training runs")
    at_target: float | None = None
    at_target_ci: Ends = (None, None)
    straightness = None
    if line.slope is not None:
        at_target, at_target_ci = _crossing(line, curve, position, np.log10(target / (1 - target)))
        straightness = straightness_of_rates(position, successes[used], trials[used], seed[used])
        if straightness is not None and straightness.is_bent:
            line, at_target_ci = replace(line, note=_in_decades(straightness).remark), (None, None)
    else:
        interval = ""
    if scale == "log":
        at_target, low, high = (None if log is None else 10.0**log for log in (at_target, *at_target_ci))
        at_target_ci = low, high
    return Efficiency(
        group=group,
        x=x,
        scale=scale,
        method=method,
        line=line,
        dropped=int((~used).sum()),
        seeds=seeds,
        target=target,
        at_target=at_target,
        at_target_ci=at_target_ci,
        interval=interval,
        straightness=straightness,
        curve=curve,
    )


def _in_decades(straightness: Straightness) -> Straightness:
    """Slopes in decades of odds, as the line's."""
    first, last = (slope / float(np.log(10)) for slope in straightness.slopes)
    return replace(straightness, slopes=(first, last))


def _fit_counts(position: Floats, successes: Floats, trials: Floats, seed: Floats) -> tuple[Line, LogOddsCurve | None]:
    n = len(position)
    if n < MIN_RATES:
        return unfitted(n, f"{counted_points(n)} to fit, {MIN_RATES} needed."), None
    if np.ptp(position) <= 1e-9 * max(1.0, float(np.abs(position).max())):
        return unfitted(n, f"all {n} points have the same x."), None
    failures = trials - successes
    for name, counts in (("successes", successes), ("failures", failures)):
        if counts.sum() < MIN_RATES:
            fewest = int(min(successes.sum(), failures.sum()))
            return unfitted(n, f"{fewest} {name} in all, {MIN_RATES} needed."), None
    curve = fit_rates(position, successes, trials, np.unique(seed, return_inverse=True)[1])
    if curve is None:
        return unfitted(n, "the rates do not determine a line."), None
    return Line(curve.slope, curve.intercept, curve.slope_ci, n, "", curve.intercept_ci), curve


def _log_odds_band(line: Line, curve: LogOddsCurve | None, position: Floats) -> Band:
    return line.band(position) if curve is None else curve.log_odds_band(position)


def _crossing(line: Line, curve: LogOddsCurve | None, position: Floats, log_odds: float) -> tuple[float | None, Ends]:
    """Where the line crosses ``log_odds``, and between which positions its band holds them."""
    assert line.slope is not None
    assert line.intercept is not None
    extent = float(np.ptp(position))
    margin = MAX_EXTRAPOLATION * extent
    grid = np.linspace(position.min() - margin, position.max() + margin, 2001)
    _, low, high = _log_odds_band(line, curve, grid)
    inside = np.flatnonzero((low <= log_odds) & (log_odds <= high))
    crossing = (log_odds - line.intercept) / line.slope if line.slope else None
    if crossing is None or not grid[0] <= crossing <= grid[-1]:
        return None, (None, None)
    if not len(inside):  # a band narrower than the grid: between the two positions around the crossing
        after = int(np.searchsorted(grid, crossing).clip(1, len(grid) - 1))
        return crossing, (float(grid[after - 1]), float(grid[after]))
    first, last = int(inside[0]), int(inside[-1])
    return crossing, (
        None if first == 0 else float(grid[first]),
        None if last == len(grid) - 1 else float(grid[last]),
    )
