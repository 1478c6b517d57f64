"""What a reader of standings must know of attacks whose parameters were searched for."""

from __future__ import annotations

from leaderboard.standings.standings import Standings
from leaderboard.table_numbers import counted, scientific
from leaderboard.tuned.search_share import search_shares


def tuned_text(table: Standings) -> str:
    """What the searches behind attacks took, which no cost in the table holds; "" where there was none."""
    cells = table.section.cells
    tuned = {cell.record.tuning.key: cell.record.attack.label for cell in cells if cell.record.tuning is not None}
    shares = search_shares(cells)
    texts = [
        f"{label}: {scientific(shares[key].record.flops)} FLOPs, {scientific(shares[key].per_example)} for each of the "
        f"{counted(shares[key].attacked, 'example')} that it attacked in this table"
        for key, label in sorted(tuned.items(), key=lambda item: item[1])
    ]
    if not texts:
        return ""
    return f"The search for an attack's parameters counts as its cost and is in no column: {'; '.join(texts)}."
