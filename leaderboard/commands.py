"""The commands ``harness fit`` and ``harness leaderboard``. What they need is imported only when they run."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

TableArg = Annotated[Path, typer.Argument(help="CSV, TSV or Parquet (gzip too), or a run directory.")]
RunsArg = Annotated[list[Path], typer.Argument(help="Run directories.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON: a list of objects.")]


class Asr(StrEnum):
    """Which success counts to take from records."""

    so_far = "so_far"
    at_step = "at_step"


class Method(StrEnum):
    """How to fit."""

    ols = "ols"


AsrOption = Annotated[
    Asr,
    typer.Option(
        "--asr", help="For a run directory: success until or at each step. A table's counts are used as they are."
    ),
]
MethodOption = Annotated[Method, typer.Option("--method", help="ols: least squares, as in arXiv 2407.18213.")]
TargetOption = Annotated[
    float | None, typer.Option("--target-asr", help="Success rate that counts as broken; the spec's own when left out.")
]


def register(app: typer.Typer) -> None:
    """Add both command groups to ``app``."""
    fit = typer.Typer(no_args_is_help=True, help="Fit compute curves to a table or a run.")
    fit.command("attack-scaling")(attack_scaling)
    fit.command("offense-defense")(offense_defense)
    app.add_typer(fit, name="fit")
    board = typer.Typer(no_args_is_help=True, help="Standings of one or more runs, as a page or in the terminal.")
    board.command("build")(build)
    board.command("show")(show)
    board.command("transfer")(transfer)
    board.command("attacks")(attacks)
    board.command("stacks")(stacks)
    app.add_typer(board, name="leaderboard")


def attack_scaling(
    table: TableArg, method: MethodOption = Method.ols, asr: AsrOption = Asr.so_far, as_json: JsonFlag = False
) -> None:
    """Log-odds of success against log attack compute, one line per model size."""
    from leaderboard.curves import fit_attack_scaling
    from leaderboard.print import print_fits
    from leaderboard.table_files import read_table

    assert method is Method.ols  # the one method so far
    fits = fit_attack_scaling(read_table(table, asr.value))
    print_fits(
        "Attack scaling: log10 odds of success per log10 attack compute", [f.to_json() for f in fits], as_json=as_json
    )


def offense_defense(
    table: TableArg,
    target_asr: Annotated[float, typer.Option("--target-asr", help="Attack success rate that counts as broken.")],
    method: MethodOption = Method.ols,
    asr: AsrOption = Asr.so_far,
    as_json: JsonFlag = False,
) -> None:
    """Log attack compute to reach the target against log defense compute. Below slope 1 the attacker gains."""
    from leaderboard.offense_defense import fit_offense_defense
    from leaderboard.print import print_fits
    from leaderboard.table_files import read_table

    assert method is Method.ols  # the one method so far
    fits = fit_offense_defense(read_table(table, asr.value), target_asr)
    title = f"Offense-defense: log10 attack compute to ASR {target_asr:g} per log10 defense compute"
    print_fits(title, [f.to_json() for f in fits], as_json=as_json)


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


def stacks(runs: RunsArg, as_json: JsonFlag = False) -> None:
    """Print for each stack of defenses whether its effect is above or below the product of its parts'."""
    from harness.records.read import read_run
    from leaderboard.print_matrices import print_json
    from leaderboard.print_stacks import print_stacks
    from leaderboard.stacks import stack_effects

    effects = stack_effects([read_run(run) for run in runs])
    if as_json:
        print_json([effect.to_json() for effect in effects])
    else:
        print_stacks(effects)
