"""`harness new-plugin`: writes a plugin package to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add it to the application."""
    app.command("new-plugin", epilog="Example: harness new-plugin my_attack --kind attack")(new_plugin)


def new_plugin(
    ctx: typer.Context,
    name: Annotated[
        str, typer.Argument(help="The name that specs will use: lower case, such as hill_climb.", show_default=False)
    ],
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            metavar="KIND",
            help="attack, task, victim, judge, or a kind of defense: defense (a guard), transform, vote.",
            show_default=False,
        ),
    ],
    into: Annotated[Path, typer.Option("--into", metavar="DIR", help="Where to make the folder NAME.")] = Path(),
    into_package: Annotated[
        Path | None,
        typer.Option("--into-package", metavar="DIR", help="Add it to this package, which already has plugins."),
    ] = None,
) -> None:
    """Write a working plugin to start from.

    Makes a small package to install, or adds to an existing one.
    """
    from harness.errors import PluginError
    from harness.scaffold.names import TEMPLATES, check_name, checked_template
    from harness.scaffold.write import write_into_package, write_package

    if into_package is not None and into != Path():
        raise PluginError("--into and --into-package: give only one of the two")
    template = checked_template(kind)
    wanted = TEMPLATES[template]
    check_name(name, wanted, ctx.obj.loaded().registry)
    if into_package is not None:
        folder, spec, files = into_package, f"spec_{name}.yaml", write_into_package(name, template, into_package)
    else:
        folder, spec, files = into / name, "spec.yaml", write_package(name, template, into)
    for file in files:
        typer.echo(f"{'changed' if file.name == 'pyproject.toml' and into_package else 'wrote'} {file}")
    typer.echo(f"\ncd {folder}\npip install -e .\nharness check {wanted}/{name}\nharness run {spec} --site site")
