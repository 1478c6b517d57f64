"""`harness new-plugin`: writes a plugin package to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add it to the application."""
    app.command("new-plugin")(new_plugin)


def new_plugin(
    ctx: typer.Context,
    name: Annotated[
        str, typer.Argument(help="What specs will write: lower case, such as hill_climb.", show_default=False)
    ],
    kind: Annotated[
        str, typer.Option("--kind", metavar="KIND", help="attack, task, victim, defense or judge.", show_default=False)
    ],
    into: Annotated[Path, typer.Option("--into", metavar="DIR", help="Where the folder NAME is made.")] = Path(),
) -> None:
    """Write a small installable package with a plugin that works: a place to begin."""
    from harness.scaffold.names import check_name, checked_kind
    from harness.scaffold.write import write_package

    wanted = checked_kind(kind)
    check_name(name, wanted, ctx.obj.loaded().registry)
    for file in write_package(name, wanted, into):
        typer.echo(f"wrote {file}")
    typer.echo(
        f"\ncd {into / name}\npip install -e .\nharness check {wanted}/{name}\nharness run spec.yaml --site site"
    )
