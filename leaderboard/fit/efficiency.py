"""What a defense buys: ASR at a fixed attack against rounds of training, its compute, or any other amount."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from leaderboard.data.table import IDENTITY, NUMBERS, Table
from leaderboard.fit.likelihood.log_odds import LogOdds
from leaderboard.fit.likelihood.rates import fit_rates
from leaderboard.fit.likelihood.uncertainty import uncertainty_text
from leaderboard.fit.line import Line, ols, points
from leaderboard.fit.reach import one_value

Floats = NDArray[np.float64]
Method = Literal["counts", "ols"]
Scale = Literal["log", "linear"]
MIN_RATES = 4  # (seed, x) pairs
SETTINGS = "settings"  # column of whole labels of defenses, beside their names alone
REACH = 2.0  # how far beyond the data, as a multiple of their extent, a crossing is still told


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
        at_target_ci: its 95% interval; an end is None where the interval has none near the data.
        interval: what the intervals are over, in words.
    """

    group: dict[str, Any]
    x: str
    scale: Scale
    method: Method
    line: Line
    dropped: int
    seeds: int
    target: float
    at_target: float | None = None
    at_target_ci: tuple[float | None, float | None] = (None, None)
    interval: str = ""
    shape: LogOdds | None = field(default=None, compare=False, repr=False)

    def to_json(self) -> dict[str, Any]:
        """JSON data, flat."""
        return (
            self.group
            | {"method": self.method, "x": self.x, "scale": self.scale}
            | self.line.to_json()
            | {
                "target_asr": self.target,
                "x_at_target": self.at_target,
                "x_at_target_low": self.at_target_ci[0],
                "x_at_target_high": self.at_target_ci[1],
                "n_dropped": self.dropped,
                "n_seeds": self.seeds,
                "interval": self.interval,
            }
        )

    def band(self, amount: Floats) -> tuple[Floats, Floats, Floats]:
        """ASR at ``amount`` with its pointwise 95% interval, for a typical seed: (middle, low, high). Needs a slope."""
        odds = _odds(self.line, self.shape, np.log10(amount) if self.scale == "log" else amount)
        middle, low, high = (1 / (1 + 10.0 ** -np.clip(part, -300, 300)) for part in odds)
        return middle, low, high


def fit_efficiency(
    table: Table,
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
        raise DataError(f"{table.source}: no column {x!r} of numbers. It has: {', '.join(table.keys(*NUMBERS))}.")
    fits = []
    for group, rows in _named(table, x).groups(table.keys(*(name for name in IDENTITY if name != x))):
        if len(np.unique(rows[x])) > 1:
            fits.append(_fit(group, _rates(rows, x, attack_compute), x, method, scale, target))
    if not fits:
        raise DataError(f"{table.source}: {x} is the same in all rows of each curve. Nothing to compare.")
    return fits


def _named(table: Table, x: str) -> Table:
    """With a defense's settings left out of its label where they are what ``x`` is about, and kept in a column."""
    if x in ("round", "defense_compute") or "defense" not in table:
        return table
    names = np.array([_without_settings(label) for label in table["defense"]], dtype=object)
    return Table(table.source, {**table.columns, "defense": names, SETTINGS: table["defense"]})


def _without_settings(label: str) -> str:
    """``a(x=f(1)) + b (static)`` is ``a + b (static)``: settings follow a name without a space."""
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


def _rates(rows: Table, x: str, budget: float | None) -> NDArray[np.float64]:
    """Seed, amount, successes, trials of each curve, [N, 4]."""
    out = []
    keys = ["seed", "round"] if x in ("round", "defense_compute") else ["seed", "round", x, SETTINGS]
    for key, curve in rows.groups(rows.keys(*keys)):
        at = curve["iteration"]
        if budget is not None:
            at = np.where(curve["attack_compute"] <= budget, at, -1)
        last = int(at.argmax())
        if at[last] >= 0:
            out.append((key["seed"], one_value(curve, x), curve["successes"][last], curve["trials"][last]))
    return np.array(out, dtype=np.float64).reshape(-1, 4)


def _fit(group: dict[str, Any], rates: Floats, x: str, method: Method, scale: Scale, target: float) -> Efficiency:
    seed, amount, won, tried = rates.T
    use = ~np.isnan(amount) & ((amount > 0) | (scale == "linear"))
    if method == "ols":
        use &= (won > 0) & (won < tried)
    place = np.log10(amount[use]) if scale == "log" else amount[use]
    seeds = len(np.unique(seed[use]))
    shape = None
    if method == "ols":
        line = ols(place, np.log10(won[use] / (tried - won)[use]))
        words = "points, as if independent"
    else:
        line, shape = _counts(place, won[use], tried[use], seed[use])
        words = uncertainty_text(seeds, "training runs")
    fitted = line.slope is not None
    at, ends = _crossing(line, shape, place, np.log10(target / (1 - target))) if fitted else (None, (None, None))
    if scale == "log":
        at, *ends_ = (None if value is None else 10.0**value for value in (at, *ends))
        ends = (ends_[0], ends_[1])
    dropped = int((~use).sum())
    return Efficiency(group, x, scale, method, line, dropped, seeds, target, at, ends, words if fitted else "", shape)


def _counts(place: Floats, won: Floats, tried: Floats, seed: Floats) -> tuple[Line, LogOdds | None]:
    n = len(place)
    if n < MIN_RATES:
        return Line(None, None, None, n, f"Not enough data: {points(n)} to fit, {MIN_RATES} needed."), None
    if np.ptp(place) <= 1e-9 * max(1.0, float(np.abs(place).max())):
        return Line(None, None, None, n, f"Not enough data: all {n} points have the same x."), None
    if won.sum() < MIN_RATES or (tried - won).sum() < MIN_RATES:
        which = "successes" if won.sum() < MIN_RATES else "failures"
        count = int(min(won.sum(), (tried - won).sum()))
        return Line(None, None, None, n, f"Not enough data: {count} {which} in all, {MIN_RATES} needed."), None
    shape = fit_rates(place, won, tried, np.unique(seed, return_inverse=True)[1])
    if shape is None:
        return Line(None, None, None, n, "Not enough data: the rates do not tell a line."), None
    return Line(shape.slope, shape.intercept, shape.slope_ci, n, "", shape.intercept_ci), shape


def _odds(line: Line, shape: LogOdds | None, place: Floats) -> tuple[Floats, Floats, Floats]:
    return line.band(place) if shape is None else shape.odds_band(place)


def _crossing(
    line: Line, shape: LogOdds | None, place: Floats, odds: float
) -> tuple[float | None, tuple[float | None, float | None]]:
    """Where the line crosses ``odds``, and between which places its band holds them."""
    assert line.slope is not None
    assert line.intercept is not None
    extent = float(np.ptp(place))
    grid = np.linspace(place.min() - REACH * extent, place.max() + REACH * extent, 2001)
    _, low, high = _odds(line, shape, grid)
    held = np.flatnonzero((low <= odds) & (odds <= high))
    at = (odds - line.intercept) / line.slope if line.slope else None
    if at is None or not grid[0] <= at <= grid[-1]:
        return None, (None, None)
    if not len(held):  # a band narrower than the grid: between the two places around the crossing
        after = int(np.searchsorted(grid, at).clip(1, len(grid) - 1))
        return at, (float(grid[after - 1]), float(grid[after]))
    first, last = int(held[0]), int(held[-1])
    return at, (None if first == 0 else float(grid[first]), None if last == len(grid) - 1 else float(grid[last]))
