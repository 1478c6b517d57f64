"""`harness merge`: puts the shards of a run together."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.context import RUNS
from harness.number_format import counted

if TYPE_CHECKING:
    from rich.progress import TaskID

    from harness.run.merge_inputs import MergeProgress


def register(app: typer.Typer) -> None:
    """Add it to the application."""
    app.command(
        "merge",
        epilog="Example: harness merge runs/quickstart-shard-1-of-2 runs/quickstart-shard-2-of-2 --out runs/quickstart",
    )(merge_command)


def merge_command(
    runs: Annotated[list[Path], typer.Argument(metavar="SHARD...", help="Run directories of one spec.")],
    out: Annotated[Path | None, typer.Option(help="Directory of the whole run; default runs/NAME.")] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Merge what is there, even if cells are missing or damaged.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON, and nothing else.")] = False,
) -> None:
    """Merge the shards of a run into one run directory. You can merge again when more of them is done.

    Exit status 1 if something was damaged and left out.
    """
    from harness.records.visible_text import file_name
    from harness.run.merge import merge
    from harness.run.merge_inputs import read_parts

    parts = read_parts(runs)
    root = out or RUNS / file_name(str(parts[0].info["spec_name"]))
    with _progress(silent=as_json) as seen:
        merged = merge(parts, root, partial, seen)
    if as_json:
        typer.echo(json.dumps({"run": str(root)} | asdict(merged)))
    else:
        for line in [*merged.absent, *(f"damaged: {line}" for line in merged.damaged)]:
            typer.echo(line, err=True)
        typer.echo(f"{merged.finished} of {counted(merged.cells, 'cell')}, {merged.copied} of them new: {root}")
    if merged.damaged:
        raise typer.Exit(1)


@contextmanager
def _progress(silent: bool) -> Iterator[MergeProgress]:
    """A bar for each of the two passes over the cells, in a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bars: dict[str, TaskID] = {}
    with Progress(*columns, console=console, disable=silent or not console.is_terminal) as progress:

        def seen(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = progress.add_task(what, total=total)
            progress.update(bars[what], completed=done)

        yield seen
