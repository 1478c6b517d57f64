"""`harness specs` and `harness spec show`: the released specs, what they ask, and what they say."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from harness.run.plan.rate import Rates
    from harness.spec.released import ReleasedSpec


def register(app: typer.Typer) -> None:
    """Add them to the application."""
    app.command("specs", epilog="Example: harness specs")(specs_command)
    group = typer.Typer(help="Show a released spec.", no_args_is_help=True)
    group.callback()(lambda: None)  # or a single command would take the group's name
    group.command("show", epilog="Example: harness spec show quickstart > my_spec.yaml")(show_command)
    app.add_typer(group, name="spec")


def specs_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: a list with one object per spec.")] = False,
) -> None:
    """List the specs that come with the harness. `harness run NAME` runs one. A released version never changes."""
    from harness.run.plan.rate import find_rates
    from harness.spec.released import released_specs

    found, rates = released_specs(), find_rates(None)
    if as_json:
        rows = [asdict(one) | {"flops": one.flops, "seconds": _seconds(one, rates)} for one in found]
        typer.echo(json.dumps(rows, indent=2))
        return
    _print(found, rates)


def show_command(
    name: Annotated[str, typer.Argument(help="Its name, or NAME@VERSION.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object that contains its text.")] = False,
) -> None:
    """Print a released spec, including its comments."""
    from harness.spec.released import FOLDER, find_released

    found = find_released(name)
    text = (FOLDER / found.file).read_text(encoding="utf-8")
    if as_json:
        typer.echo(json.dumps(asdict(found) | {"path": str(FOLDER / found.file), "text": text}, indent=2))
    else:
        typer.echo(text, nl=False)


def _seconds(spec: ReleasedSpec, rates: Rates) -> float | None:
    """How long its work takes here; None where nothing tells."""
    if spec.unknown:
        return None
    total = 0.0
    for part in spec.work:
        rate = rates.of(part.device, training=part.training)
        if rate is None:
            return None
        total += part.flops / rate.flops
    return total or None


def _print(found: list[ReleasedSpec], rates: Rates) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from harness.number_format import format_bytes, format_flops, format_seconds
    from harness.spec.released import flops_text

    console = Console(highlight=False)
    console = console if console.is_terminal else Console(highlight=False, width=10_000)
    table = Table(box=None)
    for column in ("name", "version", "content hash", "cells", "FLOPs", "time here", "memory", "needs", "summary"):
        right = column in ("cells", "FLOPs", "time here", "memory")
        table.add_column(
            column, justify="right" if right else "left", no_wrap=column not in ("needs", "summary"), overflow="fold"
        )
    for one in found:
        cost = (flops_text(one), format_seconds(_seconds(one, rates)))
        memory = "unknown" if one.memory is None else format_bytes(one.memory)
        row = (one.name, one.version, one.hash[:12], str(one.cells), *cost, memory, ", ".join(one.needs), one.summary)
        table.add_row(*map(Text, row))
    console.print(table)
    console.print(
        "The content hash is of what the file says; the spec hash of `harness validate`, records and pages also covers "
        "the versions of the plugins. "
        f"FLOPs are nominal and estimated. Time at {format_flops(rates.cpu.flops)}/s of the CPU, {rates.cpu.source}; "
        "`harness plan NAME` says more."
    )
