"""Fits in the terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_GROUP = ("task", "family", "attack", "n_params", "victim", "threat", "defense", "round")


def print_fits(title: str, fits: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    """A table, or with ``as_json`` valid JSON (no NaN) and nothing else."""
    if as_json:
        print(json.dumps(list(fits), indent=1, allow_nan=False, ensure_ascii=False))
        return
    names = [name for name in _GROUP if any(name in fit for fit in fits)]
    # A column that says the same in each row goes into the caption.
    same = [name for name in names if len({fit[name] for fit in fits}) == 1 and name != "n_params"]
    shown = [name for name in names if name not in same]
    censored = any(fit.get("n_censored") for fit in fits)
    table = plain_table(
        title, [*shown, "slope", "95% interval", "intercept", "n", *(["never broken"] if censored else [])]
    )
    table.caption = Text(", ".join(f"{name} {fits[0][name]}" for name in same))
    for fit in fits:
        if fit["slope"] is None:
            numbers = [fit["note"], "", "", str(fit["n"])]
        else:
            low, high = fit["slope_ci"]
            numbers = [f"{fit['slope']:.4f}", f"{low:.4f} … {high:.4f}", f"{fit['intercept']:.4f}", str(fit["n"])]
        more = [str(fit["n_censored"])] if censored else []
        group = ["unknown" if fit[name] is None else str(fit[name]) for name in shown]
        table.add_row(*(Text(text) for text in [*group, *numbers, *more]))
    wide_console().print(table)


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
