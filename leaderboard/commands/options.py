"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

RunsArg = Annotated[
    list[Path],
    typer.Argument(
        help="Run directories, which are taken as they are; files of submissions and entries, which are checked.",
        show_default=False,
    ),
]
EntriesFolders = Annotated[
    list[Path], typer.Option("--entries", help="A folder of entries; every JSON file in it is checked.")
]
VerifiedFolder = Annotated[
    Path | None,
    typer.Option(
        "--verified",
        help="Your folder of what `verify` and `add` have found, from which rows have their marks: verified, replayed.",
    ),
]
CountTableArg = Annotated[Path, typer.Argument(help="CSV, TSV or Parquet (gzip too), or a run directory.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON: a list of objects.")]
TargetOption = Annotated[
    float | None, typer.Option("--target-asr", help="Success rate that counts as broken; the spec's own when left out.")
]
RankByOption = Annotated[
    Literal["victim", "reference", "flops"],
    typer.Option(
        "--rank-by",
        help="victim: the rows of each victim among themselves. reference: all rows of a table, by compute as a "
        "multiple of the victim's own reference compute. flops: all, by compute.",
    ),
]
AsrOption = Annotated[
    Literal["so_far", "at_step"],
    typer.Option(
        "--asr",
        help="Success until or at each step. Counts in a table that fall from one iteration to the next are at_step.",
    ),
]
CountsOption = Annotated[
    Literal["counts", "ols"],
    typer.Option("--method", help="counts: likelihood of first successes. ols: least squares, as in arXiv 2407.18213."),
]
FormOption = Annotated[
    Literal["auto", "logistic", "saturating", "beta", "power"] | None,
    typer.Option(
        "--form",
        help="auto: four forms of the curve side by side, the one first that predicts held-out examples best. Or one "
        "of them alone. Left out: the line of log-odds, with its table.",
        show_default=False,
    ),
]
CensoredOption = Annotated[
    Literal["censored", "ols"],
    typer.Option(
        "--method", help="censored: likelihood, with what was never broken. ols: least squares, as in arXiv 2407.18213."
    ),
]
