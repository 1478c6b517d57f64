"""The command ``harness compare``. What it needs is imported only when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def compare_command(
    old: Annotated[Path, typer.Argument(help="Run directory, or submission, of the old version.")],
    new: Annotated[Path, typer.Argument(help="The same of the new version: one spec, another victim or defense.")],
    pair: Annotated[
        list[str],
        typer.Option(
            "--pair",
            metavar="OLDLABEL=NEWLABEL",
            help="Two labels of victims, or of defenses, that are versions of one. Needed if several are left over.",
        ),
    ] = [],  # noqa: B006 - typer copies it
    fail_if_worse: Annotated[
        float | None,
        typer.Option(
            "--fail-if-worse",
            min=0.0,
            max=1.0,
            metavar="MARGIN",
            help="Exit status 1 unless every rate is shown to be worse by no more than this: 0.05 is five points.",
        ),
    ] = None,
    undecided: Annotated[
        Literal["fail", "pass"],
        typer.Option(
            "--undecided", help="With --fail-if-worse: whether measures that the examples cannot decide fail or pass."
        ),
    ] = "fail",
    target_asr: Annotated[
        float | None,
        typer.Option("--target-asr", help="Success rate that counts as broken, for costs; default: the spec's own."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object, and nothing else.")] = False,
) -> None:
    """Compare two versions of a model or a defense.

    Rates with paired intervals, costs to break, calibration, drift.

    Exit status 0; with --fail-if-worse 1 where the new version is worse, or cannot be shown not to be; 2 where the runs
    cannot be compared.
    """
    from leaderboard.submission.leaderboard_sources import read_one
    from leaderboard.versions.comparison import compare_runs
    from leaderboard.versions.release_guard import guard

    runs = [read_one(path) for path in (old, new)]
    comparison = compare_runs(runs[0], runs[1], pair, target_asr)
    guarded = None if fail_if_worse is None else guard(comparison, fail_if_worse)
    if as_json:
        import json

        from leaderboard.versions.shown_measure import comparison_json

        typer.echo(json.dumps(comparison_json(comparison, guarded, undecided), indent=1, allow_nan=False))
    else:
        from leaderboard.versions.print_comparison import print_comparison

        print_comparison(comparison, guarded, undecided)
    if guarded is not None and guarded.fails(undecided):
        raise typer.Exit(1)
