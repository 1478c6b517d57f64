"""`harness status`: what of a run is done."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from harness.run.status import CellState


_URGENCY = ("failed", "damaged", "begun", "missing", "skipped", "done")
"""States of cells, those first that somebody has to look at."""


def register(app: typer.Typer) -> None:
    """Add it to the application."""
    app.command("status", epilog="Example: harness status runs/quickstart")(status_command)


def status_command(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show how far a run is.

    Lists the cells that failed (and why), are begun, missing or done, in that order.

    Exit status 1 if any failed.
    """
    from harness.run.status import read_status

    status = read_status(run)
    if as_json:
        typer.echo(json.dumps(status.to_json()))
    else:
        from rich.console import Console
        from rich.text import Text

        from harness.number_format import counted

        console = Console()
        part = f", {status.shard}" if status.shard else ""
        head = f"{status.spec_name} {status.spec_version} (spec hash {status.spec_hash[:12]}){part}"
        console.print(head, highlight=False, style="bold")
        console.print(", ".join(f"{count} {kind}" for kind, count in status.counts().items()), highlight=False)
        if untold := status.with_untold:
            console.print(
                f"{counted(len(untold), 'cell')} with answers without a verdict", highlight=False, style="yellow"
            )
        for kind, cells in _by_urgency(status.cells):
            console.print(f"\n{kind}: {counted(len(cells), 'cell')}", highlight=False, style="bold")
            for cell in cells:
                begun = f"{counted(cell.rounds, 'round')} in the journal" if cell.status == "begun" else ""
                attacked = "" if cell.n_attacked is None else f"{cell.n_attacked} attacked"
                notes = "; ".join(filter(None, [attacked, cell.error or cell.untold or begun]))
                console.print(Text(f"  {cell.label or cell.key}" + (f": {notes}" if notes else "")))
    if status.count("failed"):
        raise typer.Exit(1)


def _by_urgency(cells: Sequence[CellState]) -> Iterator[tuple[str, list[CellState]]]:
    """Each state with its cells, by name; cells whose answers have no verdict come first."""
    for kind in _URGENCY:
        found = [cell for cell in cells if cell.status == kind]
        if found:
            yield kind, sorted(found, key=lambda cell: (not cell.untold, cell.label, cell.key))
