"""Transfer matrices as heat maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.records.visible_text import visible
from leaderboard.standings.json_numbers import rounded
from leaderboard.standings.transfer import TransferMatrix
from leaderboard.standings.transfer_headings import TransferHeading
from leaderboard.table_numbers import percent

TITLES = {
    "trained": "trained against (rows), tested under (columns)",
    "replayed": "found on (rows), tried on (columns)",
}


def draw_transfer(matrices: Sequence[TransferMatrix]) -> Figure:
    """ASR at full budget, one matrix below the other; bold where nothing was transferred."""
    heights = [0.36 * len(matrix.rows) + 1.5 for matrix in matrices]
    width = max(1.25 * len(matrix.columns) + 3.4 for matrix in matrices)
    figure = Figure(figsize=(width, sum(heights)))
    panels = figure.subplots(len(matrices), 1, squeeze=False, gridspec_kw={"height_ratios": heights}).ravel()
    for axes, matrix in zip(panels, matrices, strict=True):
        _draw_matrix(axes, matrix)
    return figure


def _draw_matrix(axes: Axes, matrix: TransferMatrix) -> None:
    values = [[np.nan if entry is None else rounded(entry.asr.value) for entry in row] for row in matrix.entries]
    axes.imshow(np.array(values), cmap="Blues", vmin=0, vmax=1.25, aspect="auto")
    axes.grid(False)
    axes.set_xticks(range(len(matrix.columns)), [_heading_text(heading) for heading in matrix.columns])
    axes.set_yticks(range(len(matrix.rows)), [_heading_text(heading) for heading in matrix.rows])
    axes.tick_params(length=0, labelsize=6.5)
    axes.set_title(visible(f"{matrix.scope.task}: {TITLES[matrix.kind]}"), loc="left")
    for y, row in enumerate(matrix.entries):
        for x, entry in enumerate(row):
            text = "–" if entry is None else percent(entry.asr.value)
            weight = "bold" if entry is not None and entry.matched else "normal"
            hue = "white" if entry is not None and entry.asr.value > 0.7 else "black"
            axes.text(x, y, text, ha="center", va="center", fontsize=7, fontweight=weight, color=hue)


def _heading_text(heading: TransferHeading) -> str:
    return visible(f"{heading.main}\n{heading.fine}")
