"""The command ``harness plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leaderboard.commands.options import EntriesFolders, RunsArg
from leaderboard.commands.read_given import read_given
from leaderboard.figures.kinds import FigureKind


def plot_command(
    out: Annotated[Path, typer.Option("--out", help="File to write: .pdf, .png or .svg.")],
    runs: RunsArg = [],  # noqa: B006 - typer copies it
    entries: EntriesFolders = [],  # noqa: B006
    kind: Annotated[
        FigureKind,
        typer.Option(
            "--kind",
            help="attack-scaling: ASR against attack compute. worst-case: all attacks together. offense-defense: "
            "compute to break against defense compute. sample-efficiency, compute-efficiency: ASR against rounds or "
            "compute of the defense. transfer: matrices.",
        ),
    ] = FigureKind.attack_scaling,
    task: Annotated[str | None, typer.Option("--task", help="Only this task; default: all.")] = None,
    target_asr: Annotated[
        float | None,
        typer.Option("--target-asr", help="Success rate that counts as broken; default: the spec's own."),
    ] = None,
    fits: Annotated[bool, typer.Option("--fits/--no-fits", help="Draw the fitted curves, dotted.")] = True,
) -> None:
    """Draw a figure for a paper.

    With 95% bands, and colours that colour-blind readers can tell apart.
    """
    from leaderboard.figures.plot import plot

    with read_given(runs, entries) as given:
        for note in plot(given, out, kind, task=task, target=target_asr, fits=fits):
            typer.echo(note)
        typer.echo(f"Wrote {out}")
