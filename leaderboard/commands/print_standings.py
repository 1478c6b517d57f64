"""Standings in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.text import Text

from leaderboard.commands.print_table import plain_table, wide_console
from leaderboard.number_format import parameters
from leaderboard.site import cell_text as cells_text
from leaderboard.site.page_ids import series
from leaderboard.standings.standings import Standing, Standings

Column = Callable[[Standing], cells_text.Pair]


def print_standings(tables: Sequence[Standings]) -> None:
    """One table per task, threat model and scope; hardest to break first."""
    console = wide_console()
    if not tables:
        console.print("Not enough data: no finished cell.")
    for found in tables:
        scope = found.section.scope
        columns = _columns(found)
        table = plain_table(f"{scope.task} · {scope.threat}", list(columns))
        table.caption = Text(
            f"spec {scope.spec_name} {scope.spec_version} ({scope.spec_hash[:12]}), data {scope.data_hash[:12]}; "
            f"FLOPs per attacked example, {scope.accounting}. Rows whose intervals overlap share a rank. "
            f"{found.section.apart}"
        )
        if found.section.notice:
            console.print(Text(found.section.notice))
        for row in found.rows:
            table.add_row(*(Text("\n".join(filter(None, column(row)))) for column in columns.values()))
        console.print(table)
        for row in found.rows:
            if row.unparseable:
                console.print(Text(f"{series(row)}: {cells_text.unparseable_text(row.unparseable)}"))
        for record in found.section.failed:
            what = f"{record.victim.label}, {record.defense.label}, {record.attack.label}, seed {record.seed}"
            console.print(Text(f"failed: {what}: {record.error}"))


def _columns(found: Standings) -> dict[str, Column]:
    """Head to what stands below it; columns that would say nothing are left out."""
    rows = found.rows
    columns: dict[str, Column] = {
        "rank": lambda row: cells_text.rank_text(row, rows),
        "victim": lambda row: (row.victim, parameters(row.n_params)),
        "defense": lambda row: (_defense(row), ", ".join(row.marks)),
        found.section.clean: cells_text.clean_text,
        "ASR at full budget": cells_text.asr_text,
    }
    if any(row.worst for row in rows):
        columns["all attacks together"] = lambda row: ("", _spent(row))
    columns |= {
        f"compute to ASR {found.target:g}": cells_text.breaking_text,
        "defense compute": cells_text.defense_text,
    }
    if any(row.overhead for row in rows):
        columns["overhead per answer"] = cells_text.overhead_text
    if any(row.balance for row in rows):
        columns["offense-defense slope"] = cells_text.balance_text
    return columns | {"examples": lambda row: (str(row.asr.trials if row.asr else 0), cells_text.evidence_text(row))}


def _defense(row: Standing) -> str:
    return row.defense if row.round is None else f"{row.defense}, round {row.round}"


def _spent(row: Standing) -> str:
    return "\n".join(cells_text.worst_text(row)[1].splitlines()[1:])
