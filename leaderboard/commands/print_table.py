"""Tables and JSON on standard output."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


def plain_table(title: str, headings: Sequence[str]) -> Table:
    """An empty table; all text goes in as it is."""
    # Titles hold plugin labels, and brackets in them are not markup.
    table = Table(title=Text(title), title_justify="left", caption_justify="left", header_style="bold")
    for heading in headings:
        table.add_column(Text(heading))
    return table


def wide_console() -> Console:
    """Standard output."""
    console = Console()
    # A pipe has no width of its own: a table cut at 80 columns would lose numbers.
    return console if console.is_terminal else Console(width=200)


def print_json(objects: Sequence[dict[str, Any]]) -> None:
    """A list of objects, without NaN, and nothing else."""
    print(json.dumps(list(objects), indent=1, allow_nan=False))
