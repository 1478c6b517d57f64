"""Fits and standings in the terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from leaderboard.cells_text import asr_text, breaking_text, clean_text, defense_text, unparseable_text, worst_text
from leaderboard.payload import series
from leaderboard.standings import Standings
from leaderboard.words import parameters

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
