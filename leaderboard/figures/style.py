"""How figures look: size, letters, colours that colour-blind readers tell apart, axes."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any, Literal, NamedTuple

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from harness.errors import DataError
from leaderboard.site.data_format import SectionJson
from leaderboard.table_numbers import scientific

# Okabe and Ito's colours less yellow and black, then muted ones: those of the site.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8c6bb1", "#a6761d", "#66a61e", "#7f8c8d")
MARKERS = ("o", "s", "D", "v")  # where there are more lines than colours
DASHED: Any = (0, (3, 4))
FORMATS = ("pdf", "png", "svg")
PANEL_WIDTH, PANEL_HEIGHT = 3.4, 2.7  # inches
LEGEND_LINE, LEGEND_HANDLE, LEGEND_LETTER = 0.16, 0.5, 0.056  # inches of one entry: height, and width
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
    "text.parse_math": False,  # a label with dollar signs is no formula
    "pdf.fonttype": 42,  # letters stay letters, so that text can be searched and edited
    "svg.fonttype": "none",
    "svg.hashsalt": "harness",
    "figure.constrained_layout.use": True,
}


def settings() -> Any:
    """A context in which figures are made and saved."""
    return rc_context(SETTINGS)


def panels(count: int) -> tuple[Figure, list[Axes]]:
    """A figure of ``count`` axes, up to three side by side."""
    columns = min(count, 3)
    rows = ceil(count / columns)
    figure = Figure(figsize=(max(PANEL_WIDTH * columns, 4.2), PANEL_HEIGHT * rows))
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for spare in axes[count:]:
        spare.set_axis_off()
    return figure, axes[:count]


class Look(NamedTuple):
    """What tells a line from others."""

    colour: str
    marker: str


class Looks(dict[str, Look]):
    """Of each line by its name, the same in all panels; in the order in which names were first asked for."""

    def __missing__(self, name: str) -> Look:
        repeats, index = divmod(len(self), len(COLOURS))
        self[name] = Look(COLOURS[index], MARKERS[repeats % len(MARKERS)])
        return self[name]


def log_scale(axes: Axes, *names: Literal["x", "y"]) -> None:
    """Logarithmic axes, with powers of ten as plain text: formulas are off, see ``text.parse_math``."""
    for name in names:
        getattr(axes, f"set_{name}scale")("log")
        axis: Axis = getattr(axes, f"{name}axis")
        axis.set_major_formatter(FuncFormatter(lambda value, _: scientific(value).removeprefix("1.0 × ")))
        axis.set_minor_formatter(NullFormatter())


def title_panel(axes: Axes, section: SectionJson) -> None:
    """The task and the threat model above the axes."""
    axes.set_title(f"{section['task']}\n{section['threat']}", loc="left")


def draw_target(axes: Axes, section: SectionJson) -> None:
    """The target ASR across the axes."""
    axes.axhline(section["target_asr"], color=MUTED, linestyle=DASHED, linewidth=0.8)


def fill_band(axes: Axes, x: Any, low: Any, high: Any, hue: str, alpha: float) -> None:
    """A 95% band."""
    axes.fill_between(x, low, high, color=hue, alpha=alpha, linewidth=0)


def legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """One legend below all axes, each name once; the figure grows by its height."""
    handles: dict[str, Any] = {}
    for panel in axes:
        for handle, name in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, handle)
    if handles:
        widest = LEGEND_HANDLE + LEGEND_LETTER * max(map(len, handles))
        columns = max(1, min(3, int(figure.get_figwidth() // widest)))
        figure.set_figheight(figure.get_figheight() + LEGEND_LINE * ceil(len(handles) / columns))
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns)


def save(figure: Figure, out: Path) -> None:
    """Write ``figure`` to ``out``; the ending names the format. The same data give the same bytes.

    Raises:
        DataError: another ending, or ``out`` cannot be written.
    """
    file_format = out.suffix.lower().removeprefix(".")
    if file_format not in FORMATS:
        raise DataError(f"--out {out}: a figure is written as {', '.join(FORMATS)}. Give a name such as fig.pdf.")
    no_date = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}[file_format]
    try:
        figure.savefig(out, format=file_format, dpi=300, metadata=no_date)
    except OSError as error:
        raise DataError(f"--out {out}: cannot be written ({error.strerror or error}). Give another place.") from None
