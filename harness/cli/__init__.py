"""The command line: a file per command."""

from harness.cli.main import main

__all__ = ["main"]
