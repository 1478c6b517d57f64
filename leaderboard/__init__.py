"""Records in, curves and a site out. Reaches the command line through the same hook as any plugin.

From a recorded step to a page: the steps of an attacked example are its *trajectory* (`data.trajectories`); those of
all seeds make the *points* of an attack's curve, to which a fit is made (`standings.attack_curves`, `fit`); the curves
of a victim and defense, and what it costs to break them, are its *standing* (`standings.standing`), a row of the table,
the pages and the figures (`site`, `figures`). Two runs of one spec side by side are `versions`. Imports run that way
and no other: data, fit, what others say, standings, site, figures, submission, then versions and commands.

Imports nothing heavy until a command runs, so that ``harness --help`` stays quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.api.hooks import hookimpl

if TYPE_CHECKING:
    from pathlib import Path

    import typer


@hookimpl
def harness_register_commands(app: typer.Typer) -> None:
    """Add ``harness compare``, ``harness fit``, ``harness leaderboard`` and ``harness plot``."""
    from leaderboard.commands.leaderboard import register_commands

    register_commands(app)


@hookimpl
def harness_publish(runs: list[Path], out: Path) -> None:
    """Build the site, as ``harness leaderboard build`` does."""
    from harness.records.read import read_run
    from leaderboard.site.build import build_site

    build_site([read_run(run) for run in runs], out)
