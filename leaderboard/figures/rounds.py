"""What training buys: attack success against rounds (sample efficiency) or compute; cost to break against it."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from leaderboard.figures.style import MUTED, colour, label

Row = dict[str, Any]


def by_defense(rows: list[Row]) -> dict[str, list[Row]]:
    """Victim and defense to its rounds, for those with rounds."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row["round"] is not None:
            found.setdefault(f"{row['victim']} · {row['defense']}", []).append(row)
    return {name: sorted(each, key=lambda row: row["round"]) for name, each in found.items()}


def sample_efficiency(axes: Axes, section: dict[str, Any], rows: list[Row], fits: bool) -> int:
    """Worst-case ASR at full budget against rounds, round 0 undefended; how many lines were drawn."""
    del fits
    drawn = 0
    for at, (name, trained) in enumerate(by_defense(rows).items()):
        start = [
            row
            for row in section["rows"]
            if (row["victim"], row["family"]) == (trained[0]["victim"], trained[0]["family"])
            and row["round"] is None
            and row["defense"] == "none"
        ]
        drawn += _rates(axes, [(row["round"] or 0, row["asr"]) for row in start + trained], name, at)
    axes.set_xlabel("round of the defense (0: undefended)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _finish(axes, section)
    return drawn


def compute_efficiency(axes: Axes, section: dict[str, Any], rows: list[Row], fits: bool) -> int:
    """Worst-case ASR at full budget against defense compute over reference compute; how many lines were drawn."""
    del fits
    drawn = 0
    for at, (name, trained) in enumerate(by_defense(rows).items()):
        points = [
            (row["defense_compute"] / row["reference_compute"], row["asr"])
            for row in trained
            if row["defense_compute"] and row["reference_compute"]
        ]
        drawn += _rates(axes, points, name, at)
    axes.set_xscale("log")
    axes.set_xlabel("defense compute, share of reference compute")
    _finish(axes, section)
    return drawn


def offense_defense(axes: Axes, section: dict[str, Any], rows: list[Row], fits: bool) -> int:
    """Compute to the target against defense compute, both over the reference compute, with the slope-1 line; triangles
    were not broken within that. How many lines were drawn.
    """
    everything: list[tuple[float, float]] = []
    drawn = 0
    for at, (name, trained) in enumerate(by_defense(rows).items()):
        points = [point for row in trained if (point := _needed(row)) is not None]
        if not points:
            continue
        drawn += 1
        everything += [(x, y) for x, y, *_ in points]
        axes.plot([p[0] for p in points], [p[1] for p in points], "-", color=colour(at), label=name, alpha=0.8)
        for x, y, low, high, broken in points:
            axes.plot([x, x], [low, high], "-", color=colour(at), alpha=0.5)
            axes.plot([x], [y], "o" if broken else "^", color=colour(at), markersize=4)
        band = (trained[-1]["balance"] or {}).get("band")
        if fits and band:
            axes.plot(band["defense"], band["value"], ":", color=colour(at))
            if band["low"] is not None:
                axes.fill_between(band["defense"], band["low"], band["high"], color=colour(at), alpha=0.1, linewidth=0)
    label(axes, section)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("defense compute, share of reference compute")
    axes.set_ylabel(f"compute to ASR {100 * section['target_asr']:g}%, same unit")
    if everything:
        x, y = np.log10(np.array(everything)).T
        ends = np.array([x.min(), x.max()])
        axes.plot(10**ends, 10 ** (y.mean() + ends - x.mean()), linestyle=(0, (3, 4)), color=MUTED, label="slope 1")
    return drawn


def _needed(row: Row) -> tuple[float, float, float, float, bool] | None:
    found, per = row["breaking"], row["reference_compute"]
    if found is None or not per or not row["defense_compute"]:
        return None
    broken = found["compute"] is not None
    at = found["compute"] if broken else None if found["reached"] else found["within"]
    if not at:
        return None
    high = found["high"] if found["high"] is not None else found["within"] if broken else at
    return row["defense_compute"] / per, at / per, (found["low"] or at) / per, (high or at) / per, broken


def _rates(axes: Axes, points: list[tuple[float, Any]], name: str, at: int) -> int:
    kept = [(x, rate["value"], rate["low"], rate["high"]) for x, rate in points if rate is not None]
    if not kept:
        return 0
    x, value, low, high = zip(*kept, strict=True)
    axes.plot(x, value, "o-", color=colour(at), label=name)
    axes.fill_between(x, low, high, color=colour(at), alpha=0.13, linewidth=0)
    return 1


def _finish(axes: Axes, section: dict[str, Any]) -> None:
    label(axes, section)
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylabel("ASR at full budget")
    axes.axhline(section["target_asr"], color=MUTED, linestyle=(0, (3, 4)), linewidth=0.8)
