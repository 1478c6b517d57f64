"""How figures look: size, letters, colours that colour-blind readers tell apart, axes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.errors import DataError

# Okabe and Ito's colours less yellow and black, then muted ones: those of the site.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8c6bb1", "#a6761d", "#66a61e", "#7f8c8d")
DASHES: tuple[Any, ...] = ("-", (0, (6, 3)), (0, (2, 2)), (0, (8, 3, 2, 3)), (0, (12, 4)), (0, (4, 1)))
FORMS = ("pdf", "png", "svg")
PANEL = (3.4, 2.7)  # inches
MUTED = "#626a73"
SETTINGS: Any = {  # matplotlib types its names one by one
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9aa3ad",
    "axes.grid": True,
    "grid.color": "#e3e5e8",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.3,
    "lines.markersize": 3,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # letters stay letters, so that text can be searched and edited
    "svg.fonttype": "none",
    "svg.hashsalt": "harness",
    "figure.constrained_layout.use": True,
}


def settings() -> Any:
    """A context in which figures are made and saved."""
    return rc_context(SETTINGS)


def panels(count: int, width: float = PANEL[0], height: float = PANEL[1]) -> tuple[Figure, list[Axes]]:
    """A figure of ``count`` axes, up to three beside each other."""
    across = min(count, 3)
    down = -(-count // across)
    figure = Figure(figsize=(max(width * across, 4.2), height * down))
    axes = figure.subplots(down, across, squeeze=False).ravel().tolist()
    for spare in axes[count:]:
        spare.set_axis_off()
    return figure, axes[:count]


def colour(at: int) -> str:
    """The colour of the line numbered ``at``."""
    return COLOURS[at % len(COLOURS)]


def label(axes: Axes, section: dict[str, Any]) -> None:
    """The task and the threat model above the axes."""
    axes.set_title(f"{section['task']}\n{section['threat']}", loc="left")


def legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """One legend below all axes, each name once."""
    found: dict[str, Any] = {}
    for each in axes:
        for handle, name in zip(*each.get_legend_handles_labels(), strict=True):
            found.setdefault(name, handle)
    if found:
        columns = max(1, min(3, int(figure.get_figwidth() // 2.3)))
        figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=columns)


def save(figure: Figure, out: Path) -> None:
    """Write ``figure`` to ``out``; the ending names the form. Raises `DataError`. The same data give the same bytes."""
    form = out.suffix.lower().removeprefix(".")
    if form not in FORMS:
        raise DataError(f"--out {out}: a figure is written as {', '.join(FORMS)}. Give a name such as fig.pdf.")
    dates = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}
    try:
        figure.savefig(out, format=form, dpi=300, metadata=dates[form])
    except OSError as error:
        raise DataError(f"--out {out}: cannot be written ({error}). Give another place.") from None
