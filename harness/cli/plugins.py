"""`harness plugins`: lists plugins, or one with its parameters."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from harness.registry.plugin_entry import PluginEntry
    from harness.registry.plugin_problem import PluginProblem


def register(app: typer.Typer) -> None:
    """Add it to the application."""
    app.command("plugins", epilog="Example: harness plugins gcg")(plugins_command)


def plugins_command(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(help="A plugin's name, or KIND/NAME, to show its parameters.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: a list with one object per plugin.")] = False,
) -> None:
    """List the plugins, or show one with its parameters.

    Plugins are tasks, victims, attacks, defenses and judges.
    """
    loaded = ctx.obj.loaded(warn=False)
    entries = loaded.registry.entries() if name is None else loaded.registry.find(name)
    if as_json and name is None:
        typer.echo(json.dumps([entry.to_json() for entry in entries], indent=2))
        return
    if as_json:
        from harness.cli.console.plugin_details import plugin_details

        typer.echo(json.dumps([plugin_details(entry) for entry in entries], indent=2))
        return
    console = _console()
    if name is None:
        _print_table(console, entries)
        _print_problems(console, ctx.obj.problems)
        ctx.obj.mark_warned()
        return
    from harness.cli.console.plugin_details import print_details

    for entry in entries:
        print_details(console, entry)


def _console() -> Console:
    from rich.console import Console

    console = Console(highlight=False)
    # In a pipe there is no width to fit into, and cut or broken lines are of no use to grep.
    return console if console.is_terminal else Console(highlight=False, width=10_000)


def _print_table(console: Console, entries: list[PluginEntry]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("kind", "name", "access", "summary", "distribution", "version"):
        table.add_column(column, no_wrap=column in ("kind", "name", "access"), overflow="fold")
    last = None
    for entry in entries:
        if last not in (None, entry.kind):
            table.add_section()
        last = entry.kind
        table.add_row(*(Text(str(value)) for value in entry.to_json().values()))
    console.print(table)


def _print_problems(console: Console, problems: list[PluginProblem]) -> None:
    from rich.text import Text

    for title, left_out in (("Left out", True), ("Noted", False)):
        listed = [problem for problem in problems if problem.left_out is left_out]
        if listed:
            console.print(f"[bold]{title}[/bold]")
        for problem in listed:
            console.print(Text(f"  {problem}"))
