"""What several commands share: arguments and options, and how they are added with an example in their help."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

RunsArg = Annotated[
    list[Path],
    typer.Argument(
        help="Run directories, which are read without checks; submissions and entries, which are checked.",
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
        help="Your folder with the results of `verify` and `add`, from which rows get their marks: verified, replayed.",
    ),
]
ClaimsFolder = Annotated[
    Path | None,
    typer.Option(
        "--claims",
        help="A folder of claims; every JSON file in it is checked, and counts once you have replayed all of its "
        "strings.",
    ),
]
PaperOption = Annotated[str, typer.Option("--paper", help="A citation, such as 'Doe 2026, Title, arXiv 2601.00001'.")]
LinkOption = Annotated[str, typer.Option("--link", help="Where to read more: an https address.")]
ErrataFile = Annotated[
    Path | None, typer.Option("--errata", help="Your YAML file of notes on entries, claims and specs that are wrong.")
]
CountTableArg = Annotated[
    Path,
    typer.Argument(help="CSV, TSV or Parquet (gzip too); a run directory; or a submission or entry, which is checked."),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON: a list of objects.")]
MarkdownFlag = Annotated[bool, typer.Option("--markdown", help="Print Markdown tables.")]
TargetOption = Annotated[
    float | None, typer.Option("--target-asr", help="Success rate that counts as broken; default: the spec's own.")
]
RankByOption = Annotated[
    Literal["victim", "reference", "flops"],
    typer.Option(
        "--rank-by",
        help="victim: the rows of each victim among themselves. reference: all rows of a table, by compute as a "
        "multiple of the victim's own reference compute. flops: all rows, by compute, where a larger victim ranks "
        "higher for its size alone.",
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
        help="Fit other forms of the curve. auto: four side by side, the best predictor of held-out examples first; "
        "or name one of them. Default: a straight line in log-odds.",
        show_default=False,
    ),
]
CensoredOption = Annotated[
    Literal["censored", "ols"],
    typer.Option(
        "--method", help="censored: likelihood, with what was never broken. ols: least squares, as in arXiv 2407.18213."
    ),
]


def add_commands(app: typer.Typer, words: str, commands: Mapping[str, tuple[Callable[..., None], str]]) -> None:
    """Add commands to a group.

    Args:
        words: that call the group, such as ``harness fit``.
        commands: by name, with arguments for the example in its help.
    """
    for name, (command, arguments) in commands.items():
        app.command(name, epilog=f"Example: {words} {name} {arguments}")(command)


def refuse_both(as_markdown: bool, as_json: bool) -> None:
    """Raise DataError where two forms of output are asked for."""
    from harness.errors import DataError

    if as_markdown and as_json:
        raise DataError("--markdown and --json are both given. Give one of them.")
