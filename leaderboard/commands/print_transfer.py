"""Transfer matrices in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from leaderboard.commands.print_table import plain_table, wide_console
from leaderboard.data.comparable_cells import Scope
from leaderboard.site.texts.standing_text import rate_text
from leaderboard.standings.transfer import TransferCell, TransferMatrix

TITLES = {
    "trained": ("trained against (down), tested under (across)", "trained against"),
    "replayed": ("strings found on (down), tried on (across)", "found on"),
}
MATCHED = {"trained": "as trained", "replayed": "same victim and defense"}


def print_transfer(matrices: Sequence[TransferMatrix]) -> None:
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
        headings = [f"{column.main}\n{column.fine}" for column in matrix.columns]
        table = plain_table(f"{matrix.scope.task}: {title}", [corner, *headings])
        for heading, row in zip(matrix.rows, matrix.entries, strict=True):
            texts = [f"{heading.main}\n{heading.fine}", *(_entry_text(entry, MATCHED[matrix.kind]) for entry in row)]
            table.add_row(*(Text(text) for text in texts))
        console.print(table)
        console.print(Text(f"ASR at full budget, 95% interval. From {scope_text(matrix.scope)}."))
        if matrix.scope.notice:
            console.print(Text(matrix.scope.notice))
        console.print()


def _entry_text(entry: TransferCell | None, matched: str) -> str:
    if entry is None:
        return "–"
    trials = f"of {entry.asr.trials}" + (f", {matched}" if entry.matched else "")
    return "\n".join([*rate_text(entry.asr), trials])


def scope_text(scope: Scope) -> str:
    """Spec, data, judge and accounting."""
    data = f", data {scope.data_hash[:12]}" if scope.data_hash else ""
    spec = f"spec {scope.spec_name} {scope.spec_version} ({scope.spec_hash[:12]})"
    return f"{spec}{data}, judge {scope.judge}, {scope.accounting}"
