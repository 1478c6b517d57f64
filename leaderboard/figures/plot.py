"""From runs to a figure of one kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.errors import DataError
from harness.records.read import Run
from leaderboard.figures import style
from leaderboard.figures.attack_panels import draw_attack_scaling, draw_worst_case
from leaderboard.figures.defense_panels import draw_compute_efficiency, draw_offense_defense, draw_sample_efficiency
from leaderboard.figures.kinds import FigureKind
from leaderboard.figures.transfer_figure import draw_transfer
from leaderboard.site.data_format import SectionJson, StandingJson
from leaderboard.site.site_data import payload
from leaderboard.standings.standings import standings
from leaderboard.standings.transfer import transfer_matrices

MAX_LINES = 10  # in one panel; more cannot be told apart


@dataclass(frozen=True)
class Panel:
    """How a section is drawn.

    Attributes:
        draw: some rows of a section into axes, with fitted curves or without, in these looks; returns how many lines
            were drawn.
        needs: what a section must have for a line.
        line_per_row: whether each row is a line, so that many rows are too many.
    """

    draw: Callable[[Axes, SectionJson, list[StandingJson], bool, style.Looks], int]
    needs: str
    line_per_row: bool = False


PANELS: dict[FigureKind, Panel] = {
    FigureKind.attack_scaling: Panel(draw_attack_scaling, "an attack with a success and a known compute", True),
    FigureKind.worst_case: Panel(draw_worst_case, "two attacks on the same examples, of known compute", True),
    FigureKind.offense_defense: Panel(draw_offense_defense, "a defense with rounds that cost compute"),
    FigureKind.sample_efficiency: Panel(draw_sample_efficiency, "a defense with rounds"),
    FigureKind.compute_efficiency: Panel(draw_compute_efficiency, "a defense with rounds that cost compute"),
}


def plot(
    runs: Sequence[Run],
    out: Path,
    kind: FigureKind = FigureKind.attack_scaling,
    *,
    task: str | None = None,
    target: float | None = None,
    fits: bool = True,
) -> list[str]:
    """Draw ``runs`` into file ``out`` (pdf, png or svg), a panel per task and threat model. Returns what was left out,
    in words.

    Raises:
        DataError: nothing to draw, an unknown task, or a file that cannot be written.
    """
    left_out: list[str] = []
    with style.settings():
        if kind is FigureKind.transfer:
            figure = _transfer(runs, task)
        else:
            figure, left_out = _panels(runs, kind, task, target, fits)
        style.save(figure, out)
    return left_out


def _transfer(runs: Sequence[Run], task: str | None) -> Figure:
    matrices = [matrix for matrix in transfer_matrices(runs) if task is None or matrix.scope.task == task]
    if not matrices:
        raise DataError(
            "Not enough data: a transfer matrix needs a checkpoint that was trained against an attack and "
            "tested under two, or strings tried elsewhere."
        )
    return draw_transfer(matrices)


def _panels(
    runs: Sequence[Run], kind: FigureKind, task: str | None, target: float | None, fits: bool
) -> tuple[Figure, list[str]]:
    panel = PANELS[kind]
    sections = payload(runs, standings(runs, target))["sections"]
    tasks = sorted({section["task"] for section in sections})
    if task is not None and task not in tasks:
        raise DataError(f"--task {task}: the runs have {', '.join(tasks) or 'no finished cell'}.")
    scratch = Figure().subplots()  # to see which sections have anything to draw
    drawn = [
        section
        for section in sections
        if task in (None, section["task"]) and panel.draw(scratch, section, section["rows"], False, style.Looks())
    ]
    if not drawn:
        raise DataError(f"Not enough data: --kind {kind.value} needs {panel.needs}.")
    figure, axes = style.panels(len(drawn))
    left_out, looks = [], style.Looks()
    for section_axes, section in zip(axes, drawn, strict=True):
        rows = _readable(section["rows"]) if panel.line_per_row else section["rows"]
        panel.draw(section_axes, section, sorted(rows, key=_by_size), fits, looks)
        if len(rows) < len(section["rows"]):
            name = f"{section['task']}, {section['threat']}"
            left_out.append(f"{name}: {len(rows)} of {len(section['rows'])} rows drawn, last rounds first.")
    style.legend(figure, axes)
    return figure, left_out


def _by_size(row: StandingJson) -> tuple[float, str]:
    """Small victims first, those of unknown size last; rows of one victim stay as they are ranked."""
    return (float("inf") if row["n_params"] is None else row["n_params"]), row["victim"]


def _readable(rows: list[StandingJson]) -> list[StandingJson]:
    """Of many rows, the last round of each victim and defense, and no more than can be told apart."""
    if len(rows) <= MAX_LINES:
        return rows
    last: dict[str, StandingJson] = {}
    for row in rows:
        if row["entry"] not in last or (row["round"] or 0) > (last[row["entry"]]["round"] or 0):
            last[row["entry"]] = row
    return list(last.values())[:MAX_LINES]
