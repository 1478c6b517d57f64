"""`harness validate`: whether a spec can be run, and if not, all that is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.context import hide_library_progress, say_what_is_awaited
from harness.number_format import counted


def register(app: typer.Typer) -> None:
    """Add it to the application."""
    app.command("validate", epilog="Example: harness validate my_spec.yaml")(validate)


def validate(
    ctx: typer.Context,
    spec: Annotated[Path, typer.Argument(help="Spec file (YAML), or the name of a released spec.", show_default=False)],
    spec_only: Annotated[
        bool, typer.Option("--spec-only", help="Check only the file, not its data and models.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")] = False,
) -> None:
    """Check a spec without running it.

    First fields, plugins, parameters and exclusions; then that data and models can be found, and that each victim and
    defense can answer what each attack asks. Exit status 2 if anything is wrong.
    """
    from harness.run.cell_problems import (  # not at the top: `harness --help` must stay fast
        check_cells,
        problems_of_files,
        remarks,
    )
    from harness.run.prepare.resolved_cell import CellResolver
    from harness.spec.load import load_spec
    from harness.spec.released import spec_path
    from harness.spec.spec_problems import InvalidSpecError

    spec, registry = spec_path(spec), ctx.obj.loaded().registry
    hide_library_progress()
    try:
        try:
            loaded = load_spec(spec, registry)
        except InvalidSpecError as error:  # and what else is wrong, so that it need not be asked again
            raise (error if spec_only else problems_of_files(error, CellResolver(registry), spec)) from None
        if not spec_only:
            say_what_is_awaited()
            for line in remarks(check_cells(loaded, CellResolver(registry))):
                typer.echo(f"warning: {line}", err=True)
    except InvalidSpecError as error:
        if as_json:
            typer.echo(json.dumps({"ok": False, "path": str(spec), "problems": _problems(error)}))
        else:
            typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    if as_json:
        found = {
            "name": loaded.spec.name,
            "version": loaded.spec.version,
            "hash": loaded.hash,
            "cells": len(loaded.cells),
        }
        typer.echo(json.dumps({"ok": True, "path": str(spec), **found}))
    else:
        typer.echo(
            f"OK {loaded.spec.name} {loaded.spec.version} (spec hash {loaded.hash[:12]}), "
            f"{counted(len(loaded.cells), 'cell')}"
        )


def _problems(error: Any) -> list[dict[str, Any]]:
    from harness.spec.spec_problems import field_text

    return [
        {
            "line": problem.at.line if problem.at else None,
            "column": problem.at.column if problem.at else None,
            "field": field_text(problem.path),
            "message": problem.message,
        }
        for problem in error.problems
    ]
