"""The command ``harness leaderboard claim``. What it needs is imported only when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leaderboard.commands.options import LinkOption, PaperOption
from leaderboard.commands.submission import SpecOption, StoreOption


def claim_command(
    ctx: typer.Context,
    entry: Annotated[Path, typer.Argument(help="The JSON file of the entry that you claim against.")],
    strings: Annotated[
        Path,
        typer.Argument(
            help="CSV, JSON lines or Parquet with the columns example, string and, if you declare compute, flops."
        ),
    ],
    row: Annotated[
        list[str] | None,
        typer.Option(
            "--row",
            metavar="KIND=LABEL",
            help="Which row of the entry: task, threat, victim, defense or round and its label, as the page names it. "
            "Repeat it until one row is left.",
        ),
    ] = None,
    by: Annotated[str, typer.Option("--by", help="Who claims: names, a group. Stands on the page.")] = "",
    paper: PaperOption = "",
    link: LinkOption = "",
    flops: Annotated[
        float | None,
        typer.Option(
            "--flops",
            min=0,
            help="FLOPs that finding the strings of each example took, all that you tried included; instead of a "
            "column flops. Without either, the compute is unknown.",
        ),
    ] = None,
    spec: SpecOption = None,
    store: StoreOption = None,
    claims: Annotated[Path, typer.Option("--claims", help="Folder of claims, where it is written.")] = Path(
        "leaderboard/claims"
    ),
) -> None:
    """Try your attack strings on a listed row.

    On its victim and defense; writes a claim if they lower the row.

    The strings are held to the entry's threat model and judged as its spec says, on examples that it attacked. What
    that will take is printed first.
    """
    from rich.console import Console
    from rich.text import Text

    from harness.errors import DataError
    from harness.replay.replay_progress import ReplayView
    from leaderboard.commands.print_table import wide_console
    from leaderboard.submission.claims.make_claim import ClaimOptions, make_claim
    from leaderboard.table_numbers import counted, percent, scientific

    if not by.strip():
        raise DataError("--by is missing. Say who claims: a name or a group, which stands on the page.")
    who = {"by": by, "paper": paper, "link": link}
    options = ClaimOptions(tuple(row or ()), who, flops, spec, store, claims)
    with ReplayView(Console(stderr=True)) as view:
        path, found = make_claim(entry, strings, options, ctx.obj.loaded().registry, view)
    (made,) = found.claims
    typer.echo(f"Wrote {path} and {path.with_suffix('.parquet').name}")
    broke = f"{counted(made.broke, 'example')} broken, {made.new} of them by no attack of the entry"
    asr = "" if found.asr is None else f"; ASR with the claim {percent(found.asr.value)}"
    spent = made.claim.flops
    declared = "compute unknown" if spent is None else f"{scientific(spent)} FLOPs in all, as you declare"
    wide_console().print(Text(f"{broke}{asr}; {declared}"))  # which knows what an encoding lacks, such as ×
