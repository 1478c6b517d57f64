"""Reads the runs that a command was given, and says at its end what was left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from harness.records.read import Run
    from leaderboard.submission.leaderboard_sources import Sources


@contextmanager
def read_board(
    runs: Sequence[Path],
    entries: Sequence[Path],
    verified: Path | None = None,
    claims: Path | None = None,
    errata: Path | None = None,
) -> Iterator[Sources]:
    """What is in paths and folders of entries, with what others say of it, for the body; then each file that was left
    out on stderr, with exit status 1 where there is one.

    Raises:
        DataError: as `leaderboard.submission.leaderboard_sources.read_sources`.
    """
    from leaderboard.submission.leaderboard_sources import read_sources

    given = read_sources(runs, entries, verified, claims, errata)
    for about in given.unknown_errata:
        typer.echo(f"note: {errata}: names {about}, which is not among what is shown here", err=True)
    yield given
    for reason in given.refused:
        typer.echo(f"left out: {reason}", err=True)
    if given.refused:
        raise typer.Exit(1)


@contextmanager
def read_given(runs: Sequence[Path], entries: Sequence[Path]) -> Iterator[list[Run]]:
    """The runs of `read_board` alone."""
    with read_board(runs, entries) as given:
        yield given.runs
