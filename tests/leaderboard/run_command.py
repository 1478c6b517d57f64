"""The leaderboard's commands, called in this process."""

from __future__ import annotations

from pathlib import Path

import typer
from typer.testing import CliRunner

from leaderboard import harness_register_commands


def run_command(*args: str | Path) -> str:
    """What a command that succeeds prints."""
    app = typer.Typer()
    harness_register_commands(app)
    result = CliRunner().invoke(app, [str(arg) for arg in args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout
