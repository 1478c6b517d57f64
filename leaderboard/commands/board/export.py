"""The command ``harness leaderboard export``. What it needs is imported only when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
    csv: Annotated[Path, typer.Option("--csv", help="The CSV file to write.")],
    runs: RunsArg = [],  # noqa: B006 - typer copies it
    entries: EntriesFolders = [],  # noqa: B006
    verified: VerifiedFolder = None,
    claims: ClaimsFolder = None,
    errata: ErrataFile = None,
    target_asr: TargetOption = None,
    rank_by: RankByOption = "victim",
) -> None:
    """Write the rows of the standings as CSV, with intervals, and units in the names of the columns.

    Published results are under CC0 1.0 (no rights reserved), which the column license says.
    """
    from leaderboard.commands.read_given import read_board
    from leaderboard.parallel import usable_processes
    from leaderboard.site.downloads.export import LICENSE, write_csv
    from leaderboard.site.site_data import payload
    from leaderboard.standings.standings import standings
    from leaderboard.table_numbers import counted

    with read_board(runs, entries, verified, claims, errata) as given:
        tables = standings(given.runs, target_asr, usable_processes(), rank_by, given.others)
        sections = payload(given.runs, tables)["sections"]
        write_csv(csv, sections)
        rows = sum(len(section["rows"]) for section in sections)
        typer.echo(f"Wrote {csv} ({counted(rows, 'row')}, {LICENSE})")
