"""From runs to a figure of one kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.errors import DataError
from harness.records.read import Run
from leaderboard.figures import lines, matrix, rounds, style
from leaderboard.figures.kinds import Kind
from leaderboard.site.payload import payload
from leaderboard.standings.standings import standings
from leaderboard.standings.transfer import transfer_matrices

MOST = 10  # lines in one panel; more cannot be told apart


Panel = Callable[[Axes, dict[str, Any], list[dict[str, Any]], bool], int]
PANELS: dict[Kind, Panel] = {
    Kind.attack_scaling: lines.attack_scaling,
    Kind.worst_case: lines.worst_case,
    Kind.offense_defense: rounds.offense_defense,
    Kind.sample_efficiency: rounds.sample_efficiency,
    Kind.compute_efficiency: rounds.compute_efficiency,
}
NEEDS = {
    Kind.attack_scaling: "an attack with a success and a known compute",
    Kind.worst_case: "two attacks on the same examples, of known compute",
    Kind.offense_defense: "a defense with rounds that cost compute",
    Kind.sample_efficiency: "a defense with rounds",
    Kind.compute_efficiency: "a defense with rounds that cost compute",
}


def plot(
    runs: Sequence[Run],
    out: Path,
    kind: Kind = Kind.attack_scaling,
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
    with style.settings():
        if kind is Kind.transfer:
            found = [m.to_json() for m in transfer_matrices(runs)]
            matrices = [m for m in found if task is None or m["task"] == task]
            if not matrices:
                raise DataError(
                    "Not enough data: a transfer matrix needs a checkpoint that was trained against an attack and "
                    "tested under two, or strings tried elsewhere."
                )
            figure: Figure = matrix.transfer(matrices)
            left: list[str] = []
        else:
            figure, left = _panels(runs, kind, task, target, fits)
        style.save(figure, out)
    return left


def _panels(
    runs: Sequence[Run], kind: Kind, task: str | None, target: float | None, fits: bool
) -> tuple[Figure, list[str]]:
    tables = standings(runs, target)
    sections = payload(runs, tables)["sections"]
    tasks = sorted({section["task"] for section in sections})
    if task is not None and task not in tasks:
        raise DataError(f"--task {task}: the runs have {', '.join(tasks) or 'no finished cell'}.")
    chosen = [section for section in sections if task in (None, section["task"])]
    trial = Figure().subplots()
    used = [section for section in chosen if PANELS[kind](trial, section, section["rows"], False)]
    if not used:
        raise DataError(f"Not enough data: --kind {kind.value} needs {NEEDS[kind]}.")
    figure, axes = style.panels(len(used))
    left = []
    for each, section in zip(axes, used, strict=True):
        rows = section["rows"] if kind not in (Kind.attack_scaling, Kind.worst_case) else _readable(section["rows"])
        PANELS[kind](each, section, rows, fits)
        if len(rows) < len(section["rows"]):
            name = f"{section['task']}, {section['threat']}"
            left.append(f"{name}: {len(rows)} of {len(section['rows'])} rows drawn, last rounds first.")
    style.legend(figure, axes)
    return figure, left


def _readable(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of many rows, the last round of each victim and defense, and no more than can be told apart."""
    if len(rows) <= MOST:
        return rows
    last: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["entry"] not in last or (row["round"] or 0) > (last[row["entry"]]["round"] or 0):
            last[row["entry"]] = row
    return list(last.values())[:MOST]
