"""Standings in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from leaderboard.cells_text import asr_text, breaking_text, clean_text, defense_text, unparseable_text, worst_text
from leaderboard.payload import series
from leaderboard.standings import Standings
from leaderboard.words import parameters


def print_standings(tables: Sequence[Standings]) -> None:
    """One table per task, threat model and scope; hardest to break first."""
    console = wide_console()
    if not tables:
        console.print("Not enough data: no finished cell.")
    for found in tables:
        scope = found.section.scope
        union = any(row.worst for row in found.rows)
        heads = ["victim", "size", "defense", found.section.clean, "ASR at full budget"]
        heads += ["worst case over attacks"] if union else []
        heads += [f"compute to ASR {found.target:g}", "defense compute"]
        table = plain_table(f"{scope.task} · {scope.threat}", heads)
        table.caption = Text(
            f"spec {scope.spec_name} {scope.spec_version} ({scope.spec_hash[:12]}), data {scope.data_hash[:12]}; "
            f"FLOPs per attacked example, {scope.accounting}. {found.section.apart}"
        )
        if found.section.notice:
            console.print(Text(found.section.notice))
        for row in found.rows:
            name = row.defense if row.round is None else f"{row.defense}, round {row.round}"
            worst = [worst_text(row)] if union else []
            pairs = [clean_text(row), asr_text(row), *worst, breaking_text(row), defense_text(row)]
            texts = [row.victim, parameters(row.n_params), name, *("\n".join(filter(None, pair)) for pair in pairs)]
            table.add_row(*(Text(text) for text in texts))
        console.print(table)
        for row in found.rows:
            if row.unparseable:
                console.print(Text(f"{series(row)}: {unparseable_text(row.unparseable)}"))
        for record in found.section.failed:
            what = f"{record.victim.label}, {record.defense.label}, {record.attack.label}, seed {record.seed}"
            console.print(Text(f"failed: {what}: {record.error}"))


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
