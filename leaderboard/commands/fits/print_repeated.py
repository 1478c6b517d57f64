"""ASR@j beyond the answers at hand, in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from leaderboard.commands.print_table import plain_table, print_json, wide_console
from leaderboard.fit.repeated.extrapolation import Extrapolated
from leaderboard.fit.repeated.extrapolation_of_run import CellExtrapolation
from leaderboard.table_numbers import percent


def print_extrapolations(cells: Sequence[CellExtrapolation], as_json: bool) -> None:
    """A table, or with ``as_json`` JSON and nothing else."""
    if as_json:
        print_json([cell.to_json() for cell in cells])
        return
    names = [name for name in cells[0].group if len({cell.group[name] for cell in cells}) > 1]
    asks = [estimate.asks for estimate in cells[0].estimates]
    headings = ["answers", "prompts", "ASR@answers", *(f"ASR@{j}" for j in asks), "held out"]
    table = plain_table(
        "ASR@j of the strings that searches ended with, by a beta-binomial over prompts", [*names, *headings]
    )
    for cell in cells:
        seen = "–" if cell.seen is None else _interval(*cell.seen)
        numbers = [str(cell.samples), str(cell.found.prompts), seen, *map(_estimate, cell.estimates), _held_out(cell)]
        table.add_row(*(Text(text) for text in [*(str(cell.group[name]) for name in names), *numbers]))
    same = [f"{name} {value}" for name, value in cells[0].group.items() if name not in names]
    same.append("intervals over prompts, of one model each")
    same.append(
        "held out: prompts that half of the answers left unbroken and the other half breaks, predicted and observed"
    )
    table.caption = Text("; ".join(same))
    console = wide_console()
    console.print(table)
    for cell in cells:
        for note in dict.fromkeys(estimate.note for estimate in cell.estimates if estimate.note):
            where = ", ".join(str(cell.group[name]) for name in names)
            console.print(Text(f"{where}: {note}" if where else note))


def _interval(value: float, low: float, high: float) -> str:
    return f"{percent(value)} ({100 * low:.1f} – {100 * high:.1f}%)"


def _estimate(estimate: Extrapolated) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "refused"
    return _interval(estimate.value, estimate.low, estimate.high)


def _held_out(cell: CellExtrapolation) -> str:
    held_out = cell.found.held_out
    return "–" if held_out is None else f"{held_out.predicted:.1f}, {held_out.observed}"
