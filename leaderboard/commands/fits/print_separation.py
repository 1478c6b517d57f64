"""How far apart classes lie, in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from leaderboard.commands.print_table import plain_table, print_json, wide_console
from leaderboard.versions.class_separation import ClassSeparation

HEADINGS = ("victim", "defense", "layer", "prompts", "seeds", "silhouette", "least", "most")
CAPTION = "mean silhouette of the classes at the last token of clean prompts, mean over seeds, least and most of a seed"


def print_separation(rows: Sequence[ClassSeparation], as_json: bool) -> None:
    """A table per task, or with ``as_json`` JSON and nothing else."""
    if as_json:
        print_json([row.to_json() for row in rows])
        return
    console = wide_console()
    for task in dict.fromkeys(row.task for row in rows):
        table = plain_table(task, HEADINGS)
        for row in rows:
            if row.task == task:
                table.add_row(*map(Text, _cells(row)))
        console.print(table)
    console.print(Text(CAPTION))


def _cells(row: ClassSeparation) -> tuple[str, ...]:
    defense = row.defense if not row.round else f"{row.defense}, round {row.round}"
    spread = (f"{value:+.2f}" for value in (row.mean, min(row.silhouettes), max(row.silhouettes)))
    return (row.victim, defense, str(row.layer), str(row.prompts), str(len(row.seeds)), *spread)
