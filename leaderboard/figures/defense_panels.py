"""What training buys: attack success against rounds (sample efficiency) or compute; cost to break against it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from leaderboard.figures.style import DASHED, MUTED, Look, Looks, draw_target, fill_band, log_scale, title_panel
from leaderboard.site.data_format import SectionJson, StandingJson
from leaderboard.standings.json_numbers import RateJson


def rows_by_defense(rows: list[StandingJson]) -> dict[str, list[StandingJson]]:
    """Victim and defense to its rows, by round, for those with rounds."""
    by_defense: dict[str, list[StandingJson]] = {}
    for row in rows:
        if row["round"] is not None:
            by_defense.setdefault(f"{row['victim']} · {row['defense']}", []).append(row)
    return {name: sorted(of_defense, key=lambda row: row["round"] or 0) for name, of_defense in by_defense.items()}


def draw_sample_efficiency(axes: Axes, section: SectionJson, rows: list[StandingJson], fits: bool, looks: Looks) -> int:
    """Worst-case ASR at full budget against rounds, round 0 undefended; how many lines were drawn."""
    del fits
    drawn = 0
    for name, rounds in rows_by_defense(rows).items():
        undefended = [
            row
            for row in section["rows"]
            if (row["victim"], row["family"]) == (rounds[0]["victim"], rounds[0]["family"])
            and row["round"] is None
            and row["defense"] == "none"
        ]
        points = [(float(row["round"] or 0), row["asr"]) for row in undefended + rounds]
        drawn += _draw_rates(axes, points, name, looks[name])
    axes.set_xlabel("round of the defense (0: undefended)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _finish_axes(axes, section)
    return drawn


def draw_compute_efficiency(
    axes: Axes, section: SectionJson, rows: list[StandingJson], fits: bool, looks: Looks
) -> int:
    """Worst-case ASR at full budget against defense compute over reference compute; how many lines were drawn."""
    del fits
    drawn = 0
    for name, rounds in rows_by_defense(rows).items():
        points = [
            (row["defense_compute"] / row["reference_compute"], row["asr"])
            for row in rounds
            if row["defense_compute"] and row["reference_compute"]
        ]
        drawn += _draw_rates(axes, points, name, looks[name])
    log_scale(axes, "x")
    axes.set_xlabel("defense compute, share of reference compute")
    _finish_axes(axes, section)
    return drawn


def draw_offense_defense(axes: Axes, section: SectionJson, rows: list[StandingJson], fits: bool, looks: Looks) -> int:
    """Compute to the target against defense compute, both over the reference compute, with the slope-1 line; triangles
    were not broken within that. How many lines were drawn.
    """
    all_points: list[_RoundCost] = []
    drawn = 0
    for name, rounds in rows_by_defense(rows).items():
        points = [point for row in rounds if (point := _round_cost(row)) is not None]
        if not points:
            continue
        drawn += 1
        all_points += points
        hue, marker = looks[name]
        axes.plot([], [], "-", marker=marker, color=hue, label=name)
        axes.plot([p.defense for p in points], [p.attack for p in points], "-", color=hue, alpha=0.8)
        for point in points:
            axes.plot([point.defense, point.defense], [point.low, point.high], "-", color=hue, alpha=0.5)
            axes.plot([point.defense], [point.attack], marker if point.broken else "^", color=hue, markersize=4)
        fit = rounds[-1]["balance"]
        if fits and fit is not None and "band" in fit:
            band = fit["band"]
            axes.plot(band["defense"], band["value"], ":", color=hue)
            fill_band(axes, band["defense"], band["low"], band["high"], hue, 0.1)
    title_panel(axes, section)
    log_scale(axes, "x", "y")
    axes.set_xlabel("defense compute, share of reference compute")
    axes.set_ylabel(f"compute to ASR {100 * section['target_asr']:g}%, same unit")
    if all_points:
        x, y = np.log10(np.array([(point.defense, point.attack) for point in all_points])).T
        ends = np.array([x.min(), x.max()])
        axes.plot(10**ends, 10 ** (y.mean() + ends - x.mean()), linestyle=DASHED, color=MUTED, label="slope 1")
    return drawn


class _RoundCost(NamedTuple):
    """A round's defense compute and attack compute to the target with its interval, over the reference compute; where
    it was not broken, the attack's budget.
    """

    defense: float
    attack: float
    low: float
    high: float
    broken: bool


def _round_cost(row: StandingJson) -> _RoundCost | None:
    cost, reference, defense = row["breaking"], row["reference_compute"], row["defense_compute"]
    if cost is None or not reference or not defense or row.get("missing"):  # a missing attack may be the cheapest
        return None
    broken = cost["compute"] is not None
    attack = cost["compute"] if broken else None if cost["reached"] else cost["within"]
    if not attack:
        return None
    high = cost["high"] if cost["high"] is not None else cost["within"] if broken else attack
    low, high = cost["low"] or attack, high or attack
    return _RoundCost(defense / reference, attack / reference, low / reference, high / reference, broken)


def _draw_rates(axes: Axes, points: list[tuple[float, RateJson | None]], name: str, look: Look) -> int:
    kept = [(x, rate["value"], rate["low"], rate["high"]) for x, rate in points if rate is not None]
    if not kept:
        return 0
    x, value, low, high = zip(*kept, strict=True)
    axes.plot(x, value, "-", marker=look.marker, color=look.colour, label=name)
    fill_band(axes, x, low, high, look.colour, 0.13)
    return 1


def _finish_axes(axes: Axes, section: SectionJson) -> None:
    title_panel(axes, section)
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylabel("ASR at full budget")
    draw_target(axes, section)
