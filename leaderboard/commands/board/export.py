"""The command ``harness leaderboard export``. What it needs is imported only when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.errors import DataError
from leaderboard.commands.options import (
    ClaimsFolder,
    EntriesFolders,
    ErrataFile,
    RankByOption,
    RunsArg,
    TargetOption,
    VerifiedFolder,
)


def export_command(
    runs: RunsArg = [],  # noqa: B006 - typer copies it
    csv: Annotated[Path | None, typer.Option("--csv", help="The CSV file to write.")] = None,
    eval_results: Annotated[
        Path | None,
        typer.Option(
            "--eval-results",
            help="A folder for the hub's form of evaluation results: a YAML file per victim, of its rows without a "
            "defense, for `.eval_results` in the model's repository.",
        ),
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(metavar="OWNER/NAME", help="With --eval-results: the benchmark's dataset repository on the hub."),
    ] = None,
    eval_yaml: Annotated[
        Path | None,
        typer.Option("--eval-yaml", help="The file `eval.yaml` of that repository, which lists all tables as tasks."),
    ] = None,
    entries: EntriesFolders = [],  # noqa: B006
    verified: VerifiedFolder = None,
    claims: ClaimsFolder = None,
    errata: ErrataFile = None,
    target_asr: TargetOption = None,
    rank_by: RankByOption = "victim",
) -> None:
    """Write the rows of the standings as CSV or for the hub.

    CSV has intervals, and units in the names of the columns; the hub's form is that of evaluation results.

    Published results are under CC0 1.0 (no rights reserved), which the column license says.
    """
    if csv is None and eval_results is None and eval_yaml is None:
        raise DataError("Nothing says what to write: give --csv FILE, --eval-results FOLDER or --eval-yaml FILE.")
    if (eval_results is None) != (benchmark is None):
        raise DataError("--eval-results FOLDER and --benchmark OWNER/NAME go together: give both.")
    from leaderboard.commands.read_given import read_board
    from leaderboard.parallel import usable_processes
    from leaderboard.site.downloads.eval_results import write_benchmark_file, write_eval_results
    from leaderboard.site.downloads.export import LICENSE, write_csv
    from leaderboard.site.site_data import payload
    from leaderboard.standings.standings import standings
    from leaderboard.table_numbers import counted

    with read_board(runs, entries, verified, claims, errata) as given:
        tables = standings(given.runs, target_asr, usable_processes(), rank_by, given.others)
        sections = payload(given.runs, tables)["sections"]
        if csv is not None:
            write_csv(csv, sections)
            rows = sum(len(section["rows"]) for section in sections)
            typer.echo(f"Wrote {csv} ({counted(rows, 'row')}, {LICENSE})")
        if eval_results is not None and benchmark is not None:
            for path in write_eval_results(eval_results, sections, benchmark):
                typer.echo(f"Wrote {path}")
        if eval_yaml is not None:
            write_benchmark_file(eval_yaml, sections)
            typer.echo(f"Wrote {eval_yaml}")
