"""Records in, curves and a site out. Reaches the command line through the same hook as any plugin.

Imports nothing heavy until a command runs, so that ``harness --help`` stays quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.hooks import hookimpl

if TYPE_CHECKING:
    import typer


@hookimpl
def harness_register_commands(app: typer.Typer) -> None:
    """Add ``harness fit`` and ``harness leaderboard``."""
    from leaderboard.commands import register

    register(app)
