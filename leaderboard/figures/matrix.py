"""Transfer matrices as heat maps."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from leaderboard.number_format import percent

TITLES = {
    "trained": "trained against (rows), tested under (columns)",
    "replayed": "found on (rows), tried on (columns)",
}


def transfer(matrices: list[dict[str, Any]]) -> Figure:
    """ASR at full budget, one matrix below the other; bold where nothing was transferred."""
    tall = [0.36 * len(matrix["rows"]) + 1.5 for matrix in matrices]
    wide = max(1.25 * len(matrix["columns"]) + 3.4 for matrix in matrices)
    figure = Figure(figsize=(wide, sum(tall)))
    axes = figure.subplots(len(matrices), 1, squeeze=False, gridspec_kw={"height_ratios": tall}).ravel()
    for each, matrix in zip(axes, matrices, strict=True):
        _draw(each, matrix)
    return figure


def _draw(axes: Axes, matrix: dict[str, Any]) -> None:
    values = np.array([[np.nan if cell is None else cell["value"] for cell in row] for row in matrix["cells"]])
    axes.imshow(values, cmap="Blues", vmin=0, vmax=1.25, aspect="auto")
    axes.grid(False)
    axes.set_xticks(range(len(matrix["columns"])), [_name(head) for head in matrix["columns"]])
    axes.set_yticks(range(len(matrix["rows"])), [_name(head) for head in matrix["rows"]])
    axes.tick_params(length=0, labelsize=6.5)
    axes.set_title(f"{matrix['task']}: {TITLES[matrix['kind']]}", loc="left")
    for row, cells in enumerate(matrix["cells"]):
        for column, cell in enumerate(cells):
            text = "–" if cell is None else percent(cell["value"])
            weight = "bold" if cell is not None and cell["own"] else "normal"
            hue = "white" if cell is not None and cell["value"] > 0.7 else "black"
            axes.text(column, row, text, ha="center", va="center", fontsize=7, fontweight=weight, color=hue)


def _name(head: dict[str, str]) -> str:
    return f"{head['main']}\n{head['fine']}"
