"""Tables in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text


def plain_table(title: str, heads: Sequence[str]) -> Table:
    """An empty table; all text goes in as it is."""
    # Titles hold plugin labels, and brackets in them are not markup.
    table = Table(title=Text(title), title_justify="left", caption_justify="left", header_style="bold")
    for head in heads:
        table.add_column(Text(head))
    return table


def wide_console() -> Console:
    """Standard output."""
    console = Console()
    # A pipe has no width of its own: a table cut at 80 columns would lose numbers.
    return console if console.is_terminal else Console(width=200)
