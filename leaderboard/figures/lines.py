"""Attack success against attack compute: of each row's strongest attack, or of all attacks together."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes

from leaderboard.figures.style import MUTED, colour, label

Row = dict[str, Any]


def attack_scaling(axes: Axes, section: dict[str, Any], rows: list[Row], fits: bool) -> int:
    """Lines with their 95% bands, and the fitted curves where ``fits``; how many lines were drawn."""
    floors = []
    for at, row in enumerate(rows):
        strongest = None if row["strongest"] is None else row["strongest"]["attack"]
        for curve in row["curves"]:
            if curve["attack"] == strongest:
                floors += _line(axes, curve["points"], f"{row['series']} ({strongest})", colour(at))
                if fits and curve["band"] is not None:
                    _fit(axes, curve["band"], colour(at))
    _finish(axes, section, "attack compute per example, FLOPs (nominal)", floors)
    return len(floors)


def worst_case(axes: Axes, section: dict[str, Any], rows: list[Row], fits: bool) -> int:
    """All attacks together, against what they spend together; how many lines were drawn."""
    del fits  # a union of attacks has no fit
    floors = []
    for at, row in enumerate(rows):
        if row["worst"] is not None:
            floors += _line(axes, row["worst"]["points"], row["series"], colour(at))
    _finish(axes, section, "compute of all attacks together per example, FLOPs", floors)
    return len(floors)


def _line(axes: Axes, points: dict[str, Any], name: str, hue: str) -> list[float]:
    """Half of the lowest rate drawn, where the axis may end; empty when nothing can be drawn on log axes."""
    names = ("compute", "value", "low", "high")
    kept = [each for each in zip(*(points[n] for n in names), strict=True) if each[0] and each[1] > 0]
    if not kept:
        return []
    compute, value, low, high = zip(*kept, strict=True)
    floor = min(value) / 2
    axes.plot(compute, value, "o-", color=hue, label=name)
    axes.fill_between(compute, [max(each, floor) for each in low], high, color=hue, alpha=0.13, linewidth=0)
    return [floor]


def _fit(axes: Axes, band: dict[str, Any], hue: str) -> None:
    axes.plot(band["compute"], band["value"], ":", color=hue)
    if band["low"] is not None:
        axes.fill_between(band["compute"], band["low"], band["high"], color=hue, alpha=0.08, linewidth=0)


def _finish(axes: Axes, section: dict[str, Any], name: str, floors: list[float]) -> None:
    label(axes, section)
    axes.set_xscale("log")
    axes.set_yscale("log")
    if floors:  # a fit reaches further down than any rate that can be seen
        axes.set_ylim(min(floors), 1.1)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g}%")
    axes.set_xlabel(name)
    axes.set_ylabel("attack success rate")
    axes.axhline(section["target_asr"], color=MUTED, linestyle=(0, (3, 4)), linewidth=0.8)
