"""`harness plugins`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.describe import in_short
from harness.errors import PluginError

if TYPE_CHECKING:
    from rich.console import Console

    from harness.registry.plugin_entry import PluginEntry
    from harness.registry.plugin_problem import PluginProblem
    from harness.registry.registry import Registry


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("plugins")(plugins_command)


def plugins_command(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(help="A plugin's name, or KIND/NAME: show its parameters.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: a list with one object per plugin.")] = False,
) -> None:
    """List tasks, victims, attacks, defenses and judges; or show one of them with its parameters."""
    loaded = ctx.obj.loaded(warn=False)
    entries = loaded.registry.entries() if name is None else find(loaded.registry, name)
    if as_json:
        from harness.cli.describe import in_full

        typer.echo(json.dumps([in_full(entry) if name else in_short(entry) for entry in entries], indent=2))
        return
    console = _console()
    if name is None:
        _print_table(console, entries)
        _print_problems(console, ctx.obj.problems)
        ctx.obj.mark_told()
        return
    from harness.cli.describe import print_entry

    for entry in entries:
        print_entry(console, entry)


def find(registry: Registry, name: str) -> list[PluginEntry]:
    """The plugins called ``name``, of any kind, or the one that ``kind/name`` names.

    Raises:
        PluginError: there is none.
    """
    from harness.api.plugin import KINDS
    from harness.errors import did_you_mean

    kind, slash, rest = name.partition("/")
    if slash:
        if kind.removesuffix("s") in KINDS:
            kind = kind.removesuffix("s")
        found_kind = next((known for known in KINDS if known == kind), None)
        if found_kind is None:
            raise PluginError(f"there is no kind of plugin called '{kind}'; kinds: {', '.join(KINDS)}")
        return [registry.get(found_kind, rest)]
    found = [entry for entry in registry.entries() if entry.name == name]
    if not found:
        names = sorted({entry.name for entry in registry.entries()})
        raise PluginError(f"no plugin is called '{name}'{did_you_mean(name, names)}; known: {', '.join(names)}")
    return found


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
        table.add_row(*(Text(str(value)) for value in in_short(entry).values()))
    console.print(table)


def _print_problems(console: Console, problems: list[PluginProblem]) -> None:
    from rich.text import Text

    for title, left_out in (("Left out", True), ("Noted", False)):
        shown = [problem for problem in problems if problem.left_out is left_out]
        if shown:
            console.print(f"[bold]{title}[/bold]")
        for problem in shown:
            console.print(Text(f"  {problem}"))
