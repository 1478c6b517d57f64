"""The commands ``harness fit`` and ``harness leaderboard``. What they need is imported only when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RunsArg = Annotated[list[Path], typer.Argument(help="Run directories.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON: a list of objects.")]


TargetOption = Annotated[
    float | None, typer.Option("--target-asr", help="Success rate that counts as broken; the spec's own when left out.")
]


def register(app: typer.Typer) -> None:
    """Add both command groups to ``app``."""
    from leaderboard.fit_commands import fit_app

    app.add_typer(fit_app(), name="fit")
    board = typer.Typer(no_args_is_help=True, help="Standings of one or more runs, as a page or in the terminal.")
    board.command("build")(build)
    board.command("show")(show)
    board.command("transfer")(transfer)
    board.command("attacks")(attacks)
    app.add_typer(board, name="leaderboard")


def build(
    runs: RunsArg,
    out: Annotated[Path, typer.Option("--out", help="Folder for the site: new, empty, or one that this command made.")],
    target_asr: TargetOption = None,
) -> None:
    """Write a static site: standings and curves, opens from disk, needs no network."""
    from harness.records.read import read_run
    from leaderboard.site import build_site

    index = build_site([read_run(run) for run in runs], out, target_asr)
    typer.echo(f"Wrote {index}")


def show(runs: RunsArg, target_asr: TargetOption = None) -> None:
    """Print the standings."""
    from harness.records.read import read_run
    from leaderboard.print import print_standings
    from leaderboard.standings import standings

    print_standings(standings([read_run(run) for run in runs], target_asr))


def transfer(runs: RunsArg, as_json: JsonFlag = False) -> None:
    """Print how defenses hold against attacks they were not trained against, and strings on victims they were not found
    on.
    """
    from harness.records.read import read_run
    from leaderboard.print_matrices import print_json, print_transfer
    from leaderboard.transfer import transfer_matrices

    matrices = transfer_matrices([read_run(run) for run in runs])
    if as_json:
        print_json([matrix.to_json() for matrix in matrices])
    else:
        print_transfer(matrices)


def attacks(
    runs: RunsArg,
    compute: Annotated[
        float | None,
        typer.Option("--compute", help="FLOPs (nominal) per attacked example; left out: the smallest full budget."),
    ] = None,
    queries: Annotated[float | None, typer.Option("--queries", help="Queries per attacked example instead.")] = None,
    defense: Annotated[str, typer.Option("--defense", help="Label of the defense attacked.")] = "none",
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Print attack × task and victim: ASR at equal compute."""
    from harness.errors import DataError
    from harness.records.read import read_run
    from leaderboard.fixed_compute import Unit, attack_tables
    from leaderboard.print_matrices import markdown, print_attacks, print_json

    if compute is not None and queries is not None:
        raise DataError("--compute and --queries are both given. Give one of them.")
    if as_markdown and as_json:
        raise DataError("--markdown and --json are both given. Give one of them.")
    budget = compute if queries is None else queries
    unit: Unit = "compute" if queries is None else "queries"
    tables = attack_tables([read_run(run) for run in runs], budget, unit, defense)
    if as_json:
        print_json([entry for table in tables for entry in table.to_json()])
    elif as_markdown:
        print(markdown(tables))
    else:
        print_attacks(tables)
