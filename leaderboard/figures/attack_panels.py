"""Attack success against attack compute: of each row's strongest attack, or of all attacks together."""

from __future__ import annotations

from matplotlib.axes import Axes

from leaderboard.figures.style import Look, Looks, draw_target, fill_band, log_scale, title_panel
from leaderboard.site.data_format import BandJson, PointsJson, SectionJson, StandingJson


def draw_attack_scaling(axes: Axes, section: SectionJson, rows: list[StandingJson], fits: bool, looks: Looks) -> int:
    """Lines with their 95% bands, and the fitted curves where ``fits``; how many lines were drawn."""
    floors = []
    for row in rows:
        look = looks[row["series"]]
        strongest = None if row["strongest"] is None else row["strongest"]["attack"]
        for curve in row["curves"]:
            if curve["attack"] == strongest:
                floors += _draw_points(axes, curve["points"], f"{row['series']} ({strongest})", look)
                if fits and curve["band"] is not None:
                    _draw_fit(axes, curve["band"], look.colour)
    _finish_axes(axes, section, "attack compute per example, FLOPs (nominal)", floors)
    return len(floors)


def draw_worst_case(axes: Axes, section: SectionJson, rows: list[StandingJson], fits: bool, looks: Looks) -> int:
    """All attacks together, against what they spend together; how many lines were drawn."""
    del fits  # a union of attacks has no fit
    floors = []
    for row in rows:
        if row["worst"] is not None:
            floors += _draw_points(axes, row["worst"]["points"], row["series"], looks[row["series"]])
    _finish_axes(axes, section, "compute of all attacks together per example, FLOPs", floors)
    return len(floors)


def _draw_points(axes: Axes, points: PointsJson, name: str, look: Look) -> list[float]:
    """Half of the lowest rate drawn, where the axis may end; empty when nothing can be drawn on log axes."""
    columns = points["compute"], points["value"], points["low"], points["high"]
    kept = [(x, *rate) for x, *rate in zip(*columns, strict=True) if x and rate[0] > 0]
    if not kept:
        return []
    compute, value, low, high = zip(*kept, strict=True)
    floor = min(value) / 2
    axes.plot(compute, value, "-", marker=look.marker, color=look.colour, label=name)
    fill_band(axes, compute, [max(end, floor) for end in low], high, look.colour, 0.13)
    return [floor]


def _draw_fit(axes: Axes, band: BandJson, hue: str) -> None:
    axes.plot(band["compute"], band["value"], ":", color=hue)
    fill_band(axes, band["compute"], band["low"], band["high"], hue, 0.08)


def _finish_axes(axes: Axes, section: SectionJson, x_label: str, floors: list[float]) -> None:
    title_panel(axes, section)
    log_scale(axes, "x", "y")
    if floors:  # a fit reaches further down than any rate that can be seen
        axes.set_ylim(min(floors), 1.1)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g}%")
    axes.set_xlabel(x_label)
    axes.set_ylabel("attack success rate")
    draw_target(axes, section)
