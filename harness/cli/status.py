"""`harness status`: what of a run is done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add it to the application."""
    app.command("status", epilog="Example: harness status runs/quickstart")(status_command)


def status_command(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show which cells of a run are done, failed (and why), begun or missing. Exit status 1 if any failed."""
    from harness.run.status import read_status

    status = read_status(run)
    if as_json:
        typer.echo(json.dumps(status.to_json()))
    else:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        from harness.number_format import counted

        console = Console()
        part = f", {status.shard}" if status.shard else ""
        table = Table(title=f"{status.spec_name} {status.spec_version} ({status.spec_hash[:12]}){part}")
        for column in ("status", "cell", "attacked", "note"):
            table.add_column(column)
        for cell in status.cells:
            begun = f"{counted(cell.rounds, 'round')} in the journal" if cell.status == "begun" else ""
            note = cell.error or cell.untold or begun
            attacked = "" if cell.n_attacked is None else str(cell.n_attacked)
            table.add_row(cell.status, Text(cell.label or cell.key), attacked, Text(note))
        console.print(table)
        if untold := status.with_untold:
            console.print(
                f"{counted(len(untold), 'cell')} with answers without a verdict", highlight=False, style="yellow"
            )
        console.print(", ".join(f"{count} {kind}" for kind, count in status.counts().items()), highlight=False)
    if status.count("failed"):
        raise typer.Exit(1)
