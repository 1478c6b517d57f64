"""The commands ``harness fit`` and ``harness leaderboard``. What they need is imported only when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leaderboard.commands import submission as submission_commands
from leaderboard.commands.plot import plot_command

RunsArg = Annotated[list[Path], typer.Argument(help="Run directories, submissions, entries or folders of entries.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON: a list of objects.")]


TargetOption = Annotated[
    float | None, typer.Option("--target-asr", help="Success rate that counts as broken; the spec's own when left out.")
]


def register(app: typer.Typer) -> None:
    """Add both command groups to ``app``."""
    from leaderboard.commands.fit import fit_app

    app.add_typer(fit_app(), name="fit")
    board = typer.Typer(no_args_is_help=True, help="Standings of one or more runs, as a page or in the terminal.")
    board.command("build")(build)
    board.command("show")(show)
    board.command("study")(study)
    board.command("transfer")(transfer)
    board.command("attacks")(attacks)
    board.command("stacks")(stacks)
    submission_commands.register(board)
    app.add_typer(board, name="leaderboard")
    app.command("plot")(plot_command)


def build(
    runs: RunsArg,
    out: Annotated[Path, typer.Option("--out", help="Folder for the site: new, empty, or one that this command made.")],
    target_asr: TargetOption = None,
) -> None:
    """Write a static site: standings and curves, opens from disk, needs no network."""
    from leaderboard.parallel import usable
    from leaderboard.site.build import build_site
    from leaderboard.submission.sources import read_sources

    index = build_site(read_sources(runs), out, target_asr, usable())
    typer.echo(f"Wrote {index}")


def study(
    tables: Annotated[list[Path], typer.Argument(help="Attack-scaling or offense-defense tables: CSV, TSV, Parquet.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the page: new, empty, or one that this command made.")],
    expected: Annotated[
        Path | None, typer.Option("--expected", help="JSON: table name to n_params, slope, intercept as reported.")
    ] = None,
    target_asr: Annotated[float, typer.Option("--target-asr", help="Success rate that counts as broken.")] = 0.02,
) -> None:
    """Write a page of published tables, with slopes fitted anew beside those reported."""
    from leaderboard.site.study_build import build_study

    typer.echo(f"Wrote {build_study(tables, out, expected, target_asr)}")


def show(runs: RunsArg, target_asr: TargetOption = None) -> None:
    """Print the standings."""
    from leaderboard.commands.print_standings import print_standings
    from leaderboard.parallel import usable
    from leaderboard.standings.standings import standings
    from leaderboard.submission.sources import read_sources

    print_standings(standings(read_sources(runs), target_asr, usable()))


def transfer(runs: RunsArg, as_json: JsonFlag = False) -> None:
    """Print how defenses hold against attacks they were not trained against, and strings on victims they were not found
    on.
    """
    from leaderboard.commands.print_matrices import print_json, print_transfer
    from leaderboard.standings.transfer import transfer_matrices
    from leaderboard.submission.sources import read_sources

    matrices = transfer_matrices(read_sources(runs))
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
    from leaderboard.commands.print_matrices import markdown, print_attacks, print_json
    from leaderboard.standings.fixed_compute import Unit, attack_tables
    from leaderboard.submission.sources import read_sources

    if compute is not None and queries is not None:
        raise DataError("--compute and --queries are both given. Give one of them.")
    if as_markdown and as_json:
        raise DataError("--markdown and --json are both given. Give one of them.")
    budget = compute if queries is None else queries
    unit: Unit = "compute" if queries is None else "queries"
    tables = attack_tables(read_sources(runs), budget, unit, defense)
    if as_json:
        print_json([entry for table in tables for entry in table.to_json()])
    elif as_markdown:
        print(markdown(tables))
    else:
        print_attacks(tables)


def stacks(runs: RunsArg, as_json: JsonFlag = False) -> None:
    """Print for each stack of defenses whether its effect is above or below the product of its parts'."""
    from leaderboard.commands.print_matrices import print_json
    from leaderboard.commands.print_stacks import print_stacks
    from leaderboard.standings.stack_effects import stack_effects
    from leaderboard.submission.sources import read_sources

    effects = stack_effects(read_sources(runs))
    if as_json:
        print_json([effect.to_json() for effect in effects])
    else:
        print_stacks(effects)
