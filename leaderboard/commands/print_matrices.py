"""Transfer matrices and attacks at fixed compute, in the terminal and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.text import Text

from leaderboard.commands.print_table import plain_table, wide_console
from leaderboard.data.sections import Scope
from leaderboard.number_format import UNKNOWN_COMPUTE, scientific
from leaderboard.site.cell_text import rate_pair
from leaderboard.standings.fixed_compute import AttackAtCompute, AttackTable, Column
from leaderboard.standings.transfer import Matrix

TITLES = {
    "trained": ("trained against (down), tested under (across)", "trained against"),
    "replayed": ("strings found on (down), tried on (across)", "found on"),
}
OWN = {"trained": "as trained", "replayed": "same victim and defense"}
_SIGNS = {"spent less": "*", "search elsewhere": "†", "one step takes more": "‡", "compute unknown": ""}
_MEANINGS = {
    "spent less": "* spends less than this in full; its last step is taken.",
    "search elsewhere": "† tries strings found elsewhere, and that search is not counted; its last step is taken.",
    "one step takes more": "‡ its first step takes more than this.",
    "compute unknown": f"{UNKNOWN_COMPUTE}: give --queries to compare at equal queries.",
}


def print_json(objects: Sequence[dict[str, Any]]) -> None:
    """A list of objects, without NaN."""
    print(json.dumps(list(objects), indent=1, allow_nan=False, ensure_ascii=False))


def print_transfer(matrices: Sequence[Matrix]) -> None:
    """One table per matrix."""
    console = wide_console()
    if not matrices:
        console.print(
            Text(
                "Nothing to show: no checkpoint that was trained against an attack was tested under two attacks or "
                "threat models, and no attack tried strings found elsewhere."
            )
        )
    for matrix in matrices:
        title, corner = TITLES[matrix.kind]
        table = plain_table(f"{matrix.scope.task}: {title}", [corner, *(f"{c.main}\n{c.fine}" for c in matrix.columns)])
        for head, row in zip(matrix.rows, matrix.entries, strict=True):
            cells = []
            for entry in row:
                main, fine = ("–", "") if entry is None else rate_pair(entry.asr)
                of = "" if entry is None else f"of {entry.asr.trials}" + (f", {OWN[matrix.kind]}" if entry.own else "")
                cells.append("\n".join(filter(None, [main, fine, of])))
            table.add_row(*(Text(text) for text in [f"{head.main}\n{head.fine}", *cells]))
        console.print(table)
        for note in filter(None, [f"ASR at full budget, 95% interval. From {_source(matrix.scope)}.", matrix.notice]):
            console.print(Text(note))
        console.print()


def print_attacks(tables: Sequence[AttackTable]) -> None:
    """One table per threat model."""
    console = wide_console()
    for found in tables:
        heads = [f"{_name(c, found)}\n{_at(c, found)}" for c in found.columns]
        table = plain_table(f"{found.scope.threat}, defense {found.defense}", ["attack", *heads])
        for attack, row in zip(found.attacks, found.entries, strict=True):
            table.add_row(Text(attack), *(Text("\n".join(filter(None, _cell(entry)))) for entry in row))
        console.print(table)
        for note in _notes(found):  # a caption would wrap at the width of the table
            console.print(Text(note))
        console.print()


def markdown(tables: Sequence[AttackTable]) -> str:
    """The same as Markdown tables."""
    out = []
    for found in tables:
        lines = [["attack", *(_name(c, found) for c in found.columns)]]
        lines += [["---", *("---:" for _ in found.columns)]]
        lines += [["", *(_at(c, found) for c in found.columns)]]
        for attack, row in zip(found.attacks, found.entries, strict=True):
            pairs = [_cell(entry) for entry in row]
            lines.append([attack, *(main + (f" ({fine})" if fine else "") for main, fine in pairs)])
        rows = ["| " + " | ".join(_escaped(text) for text in line) + " |" for line in lines]
        title = f"**{_escaped(f'{found.scope.threat}, defense {found.defense}')}**"
        out.append("\n".join([title, "", *rows, "", *(f"- {_escaped(note)}" for note in _notes(found))]))
    return "\n\n".join(out)


def _name(column: Column, table: AttackTable) -> str:
    parts = [column.task, column.victim] + ([f"round {column.round}"] if column.round else [])
    twice = {c.data_hash for c in table.columns if c.task == column.task}
    return " · ".join(parts + ([f"data {column.data_hash[:12]}"] if len(twice) > 1 else []))


def _at(column: Column, table: AttackTable) -> str:
    if column.budget is None:
        return UNKNOWN_COMPUTE.lower()
    return f"{scientific(column.budget)} FLOPs" if table.unit == "compute" else f"{column.budget:.6g} queries"


def _cell(entry: AttackAtCompute | None) -> tuple[str, str]:
    if entry is None:
        return "–", ""
    if entry.asr is None:
        return (UNKNOWN_COMPUTE.lower(), "") if entry.mark == "compute unknown" else ("–" + _SIGNS[entry.mark], "")
    main, fine = rate_pair(entry.asr)
    return main + _SIGNS.get(entry.mark, ""), f"{fine} of {entry.asr.trials}"


def _notes(table: AttackTable) -> list[str]:
    marks = {entry.mark for row in table.entries for entry in row if entry is not None}
    what = "FLOPs, nominal" if table.unit == "compute" else "queries"
    stop = " An example's search stops when it succeeds." if table.scope.stop_on_success else ""
    notes = [f"ASR so far at the mean per attacked example that heads the column ({what}), 95% interval.{stop}"]
    notes += [f"From {_source(table.scope)}."] + [table.notice] * bool(table.notice)
    return notes + [meaning for mark, meaning in _MEANINGS.items() if mark in marks]


def _source(scope: Scope) -> str:
    data = f", data {scope.data_hash[:12]}" if scope.data_hash else ""
    spec = f"spec {scope.spec_name} {scope.spec_version} ({scope.spec_hash[:12]})"
    return f"{spec}{data}, judge {scope.judge}, {scope.accounting}"


def _escaped(text: str) -> str:
    """So that a plugin's label stays text in Markdown."""
    for sign in ("\\", "|", "<", "*", "_", "[", "`"):
        text = text.replace(sign, f"\\{sign}")
    return text
