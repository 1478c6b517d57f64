"""The command ``harness plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leaderboard.figures.kinds import Kind


def plot_command(
    runs: Annotated[list[Path], typer.Argument(help="Run directories, submissions, entries or folders of entries.")],
    out: Annotated[Path, typer.Option("--out", help="File to write: .pdf, .png or .svg.")],
    kind: Annotated[
        Kind,
        typer.Option(
            "--kind",
            help="attack-scaling: ASR against attack compute. worst-case: all attacks together. offense-defense: "
            "compute to break against defense compute. sample-efficiency, compute-efficiency: ASR against rounds or "
            "compute of the defense. transfer: matrices.",
        ),
    ] = Kind.attack_scaling,
    task: Annotated[str | None, typer.Option("--task", help="Only this task; all when left out.")] = None,
    target_asr: Annotated[
        float | None,
        typer.Option("--target-asr", help="Success rate that counts as broken; the spec's own by default."),
    ] = None,
    fits: Annotated[bool, typer.Option("--fits/--no-fits", help="Draw the fitted curves, dotted.")] = True,
) -> None:
    """Draw a figure for a paper: vector letters, colours that colour-blind readers tell apart, 95% bands."""
    from leaderboard.figures.draw import plot
    from leaderboard.submission.sources import read_sources

    for note in plot(read_sources(runs), out, kind, task=task, target=target_asr, fits=fits):
        typer.echo(note)
    typer.echo(f"Wrote {out}")
