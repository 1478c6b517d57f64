"""Attacks at fixed compute, in the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from leaderboard.commands.attacks.markdown import titled_table
from leaderboard.commands.print_table import plain_table, wide_console
from leaderboard.commands.print_transfer import scope_text
from leaderboard.site.texts.standing_text import TextPair, interval_text
from leaderboard.standings.fixed_compute import AttackAtCompute, AttackColumn, AttackTable
from leaderboard.table_numbers import UNKNOWN_COMPUTE, percent, scientific

_SIGNS = {"spent less": "*", "search elsewhere": "†", "one step takes more": "‡", "compute unknown": ""}
_MEANINGS = {
    "spent less": "* spends less than this in full; its last step is taken.",
    "search elsewhere": "† tries strings that were found elsewhere, and that search is not counted; its last step is "
    "taken.",
    "one step takes more": "‡ its first step takes more than this.",
    "compute unknown": f"{UNKNOWN_COMPUTE}: give --queries to compare at equal queries.",
}
_SEARCHED = (
    "search: what finding the attack's parameters took, FLOPs per attacked example of these runs, in addition to the "
    "compute at the head of the column; `harness leaderboard tuned` counts it."
)


def print_attack_tables(tables: Sequence[AttackTable]) -> None:
    """One table per threat model."""
    console = wide_console()
    for attack_table in tables:
        columns = [f"{_name(column, attack_table)}\n{_budget(column, attack_table)}" for column in attack_table.columns]
        table = plain_table(_title(attack_table), ["attack", *columns])
        for attack, row in zip(attack_table.attacks, attack_table.entries, strict=True):
            table.add_row(Text(attack), *(Text("\n".join(filter(None, _entry_text(entry)))) for entry in row))
        console.print(table)
        for note in _notes(attack_table):  # a caption would wrap at the width of the table
            console.print(Text(note))
        console.print()


def attack_tables_markdown(tables: Sequence[AttackTable]) -> str:
    """The same as Markdown tables."""
    return "\n\n".join(_markdown(table) for table in tables)


def _markdown(table: AttackTable) -> str:
    lines = [
        ["attack", *(_name(column, table) for column in table.columns)],
        ["---", *("---:" for _ in table.columns)],
        ["", *(_budget(column, table) for column in table.columns)],
    ]
    for attack, row in zip(table.attacks, table.entries, strict=True):
        texts = [_entry_text(entry) for entry in row]
        lines.append([attack, *(main + (f" ({fine})" if fine else "") for main, fine in texts)])
    return titled_table(_title(table), lines, _notes(table))


def _title(table: AttackTable) -> str:
    return f"{table.scope.threat}, defense {table.defense}"


def _name(column: AttackColumn, table: AttackTable) -> str:
    parts = [column.task, column.victim] + ([f"round {column.round}"] if column.round else [])
    data_hashes = {other.data_hash for other in table.columns if other.task == column.task}
    return " · ".join(parts + ([f"data {column.data_hash[:12]}"] if len(data_hashes) > 1 else []))


def _budget(column: AttackColumn, table: AttackTable) -> str:
    if column.budget is None:
        return UNKNOWN_COMPUTE.lower()
    return f"{scientific(column.budget)} FLOPs" if table.unit == "compute" else f"{column.budget:.6g} queries"


def _entry_text(entry: AttackAtCompute | None) -> TextPair:
    if entry is None:
        return "–", ""
    if entry.asr is None:
        return (UNKNOWN_COMPUTE.lower(), "") if entry.remark == "compute unknown" else ("–" + _SIGNS[entry.remark], "")
    main = percent(entry.asr.value) + _SIGNS.get(entry.remark, "")
    searched = "" if entry.search is None else f", search {scientific(entry.search)}"
    return main, f"{interval_text(entry.asr)} of {entry.asr.trials}{searched}"


def _notes(table: AttackTable) -> list[str]:
    remarks = {entry.remark for row in table.entries for entry in row if entry is not None}
    unit = "FLOPs, nominal" if table.unit == "compute" else "queries"
    stop = " An example's search stops when it succeeds." if table.scope.stop_on_success else ""
    notes = [f"ASR so far at the mean per attacked example that heads the column ({unit}), 95% interval.{stop}"]
    notes += [f"From {scope_text(table.scope)}."]
    notes += [table.scope.notice] if table.scope.notice else []
    rates = [entry.asr for row in table.entries for entry in row if entry is not None and entry.asr is not None]
    notes += ["Intervals of one seed are of this one model only."] if any(rate.seeds == 1 for rate in rates) else []
    if any(entry is not None and entry.search is not None for row in table.entries for entry in row):
        notes.append(_SEARCHED)
    return notes + [meaning for remark, meaning in _MEANINGS.items() if remark in remarks]
