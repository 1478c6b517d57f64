"""`harness plan`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("plan")(plan_command)


def plan_command(
    ctx: typer.Context,
    spec: Annotated[Path, typer.Argument(help="The spec, a YAML file.")],
    out: Annotated[
        Path | None, typer.Option(help="Run directory to look for work already done; default runs/NAME.")
    ] = None,
    store: Annotated[Path | None, typer.Option(help="Where trained models are kept; default OUT/artifacts.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the cells of a spec, what is done already, and what the rest is estimated to take. Runs nothing."""
    from harness.cli.run import DEFAULT_ROOT
    from harness.run.estimate import make_plan
    from harness.run.layout import RunFolder
    from harness.run.prepare import Preparer
    from harness.run.report import Silent
    from harness.run.tasks import Tasks
    from harness.spec.load import load_spec
    from harness.store.artifacts import Store

    registry = ctx.obj.loaded().registry
    chosen = load_spec(spec, registry)
    folder = RunFolder(out or DEFAULT_ROOT / chosen.spec.name)
    plan = make_plan(chosen.cells, Preparer(Store(store or folder.artifacts), registry, Tasks(), Silent()), folder)
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "spec": chosen.spec.name,
                    "version": chosen.spec.version,
                    "hash": chosen.hash,
                    "stages": [asdict(stage) for stage in plan.stages],
                    "rate_flops_per_second": plan.rate,
                    "rate_source": plan.rate_source,
                    "remaining_flops": plan.remaining(),
                    "remaining_seconds": plan.remaining() / plan.rate,
                }
            )
        )
        return
    _print(plan)


def _print(plan: object) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from harness.cli.units import duration, flops
    from harness.run.estimate import Plan

    assert isinstance(plan, Plan)
    table = Table(box=None, caption="FLOPs are nominal and, like the times, estimated.", caption_justify="left")
    for column in ("stage", "status", "of", "FLOPs", "time"):
        table.add_column(
            column, justify="right" if column in ("FLOPs", "time") else "left", no_wrap=column != "of", overflow="fold"
        )
    for stage in plan.stages:
        time = "" if stage.status == "done" or stage.flops is None else duration(stage.flops / plan.rate)
        table.add_row(stage.what, stage.status, Text(stage.label), flops(stage.flops), time)
    console = Console()
    console.print(table)
    for what in ("prepare", "defend", "attack"):
        left = plan.remaining(what)
        count = sum(stage.what == what and stage.status != "done" for stage in plan.stages)
        console.print(f"{what:8} {count:4} to do   {flops(left):>12}   about {duration(left / plan.rate)}")
    console.print(f"Rate {flops(plan.rate)}/s, {plan.rate_source}.", highlight=False)
