"""`harness plan`: what a spec would cost, before it is run."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.context import RUNS, say_what_is_awaited

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.run.plan.estimate import Plan
    from harness.run.plan.savings import Saving


def register(app: typer.Typer) -> None:
    """Add it to the application."""
    app.command("plan", epilog="Example: harness plan quickstart")(plan_command)


def plan_command(
    ctx: typer.Context,
    spec: Annotated[Path, typer.Argument(help="The spec: a YAML file, or the name of a released one.")],
    out: Annotated[
        Path | None, typer.Option(help="Run directory to check for finished work; default runs/NAME.")
    ] = None,
    store: Annotated[
        str | None, typer.Option(help="Where trained models are kept, a folder or a URL; default OUT/artifacts.")
    ] = None,
    card: Annotated[
        str | None,
        typer.Option(
            help="The GPU that it will run on, such as A100: times are estimated from a share of the peak in its "
            "data sheet."
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(metavar="FLOP/S", help="How fast it will run, nominal FLOPs per second, such as 2e13."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND=LABEL",
            help="Plan no other cells than those with this label, such as victim='tiny 57k'; as `harness run --only`.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the cells of a spec and what they will take.

    Says what is done, and estimates the rest. Runs nothing.
    """
    from harness.records.visible_text import file_name
    from harness.run.cell.base_record import planned_cell
    from harness.run.cell_problems import remarks, runnable_cells
    from harness.run.plan.chosen_cells import chosen_keys
    from harness.run.plan.estimate import make_plan
    from harness.run.plan.savings import savings
    from harness.run.prepare.resolved_cell import CellResolver
    from harness.run.run_folder import RunFolder
    from harness.spec.load import load_spec
    from harness.spec.released import spec_path
    from harness.store.open_store import open_store

    registry = ctx.obj.loaded().registry
    chosen = load_spec(spec_path(spec), registry)
    folder = RunFolder(out or RUNS / file_name(chosen.spec.name))
    resolver = CellResolver(registry, outlined=True)
    say_what_is_awaited()
    cells, problems = runnable_cells(chosen, resolver)
    if problems is not None:
        if not cells:
            raise problems
        typer.echo("\n".join(f"warning: {line}" for line in str(problems).splitlines()), err=True)
    planned = [planned_cell(cell.keys.cell, cell.spec) for cell in cells]
    if only:
        keys = chosen_keys(planned, only)
        cells = [cell for cell in cells if cell.keys.cell in keys]
        planned = [cell for cell in planned if cell.key in keys]
    for line in remarks(cells):
        typer.echo(f"warning: {line}", err=True)
    plan = make_plan(cells, resolver, open_store(store or folder.artifacts), folder, card, rate)
    for line in (*resolver.made_up, *plan.unknown):
        typer.echo(f"warning: {line}", err=True)
    saved = savings(plan, planned)
    if as_json:
        left = plan.forecast()
        typer.echo(
            json.dumps(
                {
                    "spec": chosen.spec.name,
                    "version": chosen.spec.version,
                    "hash": chosen.hash,
                    "stages": [asdict(stage) for stage in plan.stages],
                    "rates": {
                        name: None if found is None else {"flops_per_second": found.flops, "source": found.source}
                        for name, found in (
                            ("cpu", plan.rates.cpu),
                            ("gpu", plan.rates.gpu),
                            ("gpu_training", plan.rates.gpu_training),
                        )
                    },
                    "remaining_flops": left.flops,
                    "remaining_seconds": left.seconds,
                    "remaining_of_unknown_flops": left.unknown,
                    "remaining_of_unknown_seconds": left.untimed,
                    "memory_bytes": asdict(left.memory) if left.memory else None,
                    "savings": [asdict(one) for one in saved],
                }
            )
        )
        return
    _print(plan)
    _print_savings(plan, saved)


_CAPTION = "FLOPs are nominal and, like the times, estimated; memory is the maximum of one process takes."


def _print(plan: Plan) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from harness.number_format import format_flops, format_memory, format_seconds, with_unknown

    table = Table(box=None, caption=_CAPTION, caption_justify="left")
    for column in ("stage", "status", "of", "FLOPs", "time", "memory"):
        right = column in ("FLOPs", "time", "memory")
        table.add_column(column, justify="right" if right else "left", no_wrap=column != "of", overflow="fold")
    for stage in plan.stages:
        time = "" if stage.status == "done" else format_seconds(plan.seconds(stage))
        table.add_row(
            stage.what, stage.status, Text(stage.label), format_flops(stage.flops), time, format_memory(stage.memory)
        )
    console = Console()
    console.print(table)
    for what in ("prepare", "defend", "attack"):
        left = plan.forecast(what)
        spent = with_unknown(format_flops(left.flops), left.unknown, left.stages)
        time = with_unknown(f"about {format_seconds(left.seconds)}", left.untimed, left.stages)
        console.print(f"{what:8} {left.stages:4} to do   {spent:>12}   {time}", highlight=False)
    left_to_do = [stage.diagnostics for stage in plan.stages if stage.what == "attack" and stage.status != "done"]
    if left_to_do:
        known = [flops for flops in left_to_do if flops is not None]
        spent = with_unknown(format_flops(sum(known)), len(left_to_do) - len(known), len(left_to_do))
        console.print(f"of attack, diagnostics  {spent}", highlight=False)
    for line in plan.rate_lines():
        console.print(f"Rate of the {line}.", highlight=False)
    left = plan.forecast()
    if left.stages:
        console.print(
            f"Memory at most {format_memory(left.memory)}; --jobs N takes up to N times that.", highlight=False
        )


def _print_savings(plan: Plan, found: Sequence[Saving]) -> None:
    from rich.console import Console
    from rich.text import Text

    from harness.number_format import format_seconds

    total = plan.forecast().seconds
    if not total or not found:
        return
    console = Console()
    console.print("What would save most, each by itself (`--only` leaves out cells of a spec):", soft_wrap=True)
    for one in found:
        saved = f"{one.share:4.0%}, about {format_seconds(total * one.share)}"
        console.print(Text(f"{saved}: {one.change}"), highlight=False, soft_wrap=True)
