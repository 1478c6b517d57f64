"""`harness check`: whether a plugin keeps what its kind promises."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.errors import PluginError

if TYPE_CHECKING:
    from harness.testing.results import Finding

_MARKS = {"ok": "ok", "failed": "FAILED", "skipped": "-"}


def register(app: typer.Typer) -> None:
    """Add it to the application."""
    app.command("check", epilog="Example: harness check my_attack")(check)


def check(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="A plugin's name, or KIND/NAME.", show_default=False)],
    params: Annotated[
        str, typer.Option("--params", metavar="YAML", help="Its parameters, as in a spec: '{steps: 4}'.")
    ] = "{}",
    examples: Annotated[int, typer.Option(min=1, help="Made-up examples per check.")] = 24,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: a list with one object per check.")] = False,
) -> None:
    """Check that a plugin keeps the promises of its kind. Exit status 1 if it does not."""
    os.environ.setdefault(
        "OMP_NUM_THREADS", "1"
    )  # before torch is imported: models of these sizes are slower on several
    from harness.testing.plugin_under_test import subject_of
    from harness.testing.runner import run_checks

    registry, given = ctx.obj.loaded().registry, _read(params)
    found: list[Finding] = []
    for entry in registry.find(name):
        subject = subject_of(f"{entry.kind}/{entry.name}", given, registry, examples=examples)
        for finding in run_checks(subject):
            found.append(finding)
            if not as_json:
                _tell(finding)
    failed = sum(finding.status == "failed" for finding in found)
    if as_json:
        typer.echo(json.dumps([finding.to_json() for finding in found], indent=2))
    else:
        kept = sum(finding.status == "ok" for finding in found)
        skipped = len(found) - kept - failed
        typer.echo(f"{kept} ok, {failed} failed" + (f", {skipped} not applicable" if skipped else ""))
    if failed:
        raise typer.Exit(1)


def _read(params: str) -> dict[str, Any]:
    import yaml

    try:
        given = yaml.safe_load(params)
    except yaml.YAMLError as error:
        raise PluginError(f"--params {params}: not YAML ({' '.join(str(error).split())})") from None
    if given is None:
        return {}
    if not isinstance(given, dict) or not all(isinstance(key, str) for key in given):
        raise PluginError(f"--params {params}: write a mapping, such as '{{steps: 4}}'")
    return given


def _tell(finding: Finding) -> None:
    note = f" ({finding.note})" if finding.note else ""
    typer.echo(f"{_MARKS[finding.status]:<7}{finding.check:<16}{finding.promise}{note}")
    if finding.status == "failed":
        for what, text in (("expected", finding.expected), ("got", finding.got), ("fix", finding.mend)):
            lines = text.strip().splitlines() or [""]
            typer.echo(f"{'':<7}  {what + ':':<10}{lines[0]}")
            for line in lines[1:]:
                typer.echo(f"{'':<19}{line}")
    sys.stdout.flush()
