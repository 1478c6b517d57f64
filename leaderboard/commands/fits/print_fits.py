"""Tables of fits in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from leaderboard.commands.print_table import plain_table, print_json, wide_console
from leaderboard.table_numbers import percent

_GROUP = ("task", "family", "attack", "n_params", "victim", "threat", "defense", "round")
FitRow = dict[str, Any]
"""A fit as flat JSON data; which keys it has depends on the kind of fit."""


def print_fits(title: str, rows: Sequence[FitRow], as_json: bool) -> None:
    """A table, or with ``as_json`` valid JSON (no NaN) and nothing else."""
    if as_json:
        print_json(rows)
        return
    names = [name for name in _GROUP if any(name in row for row in rows)]
    # A column that says the same in each row goes into the caption.
    same = [name for name in names if len({row[name] for row in rows}) == 1 and name != "n_params"]
    different = [name for name in names if name not in same]
    more = [
        (heading, text)
        for key, heading, text in _MORE_COLUMNS
        if any(row.get(key) is not None and (key != "n_dropped" or row[key]) for row in rows)
    ]
    line = ["slope", "95% interval", "intercept", "95% interval", "n"]
    table = plain_table(title, [*different, *line, *(heading for heading, _ in more)])
    for row in rows:
        if row["slope"] is None:
            numbers = [row["note"], "", "", ""]
        else:
            numbers = [f"{row['slope']:.4f}", _ends(row, "slope"), f"{row['intercept']:.4f}", _ends(row, "intercept")]
        cells = [*_group_texts(row, different), *numbers, str(row["n"]), *(text(row) for _, text in more)]
        table.add_row(*(Text(cell) for cell in cells))
    method = [f"method {rows[0]['method']}", *_intervals_over(rows)] if rows else []
    table.caption = Text("; ".join([*(f"{name} {rows[0][name]}" for name in same), *method]))
    console = wide_console()
    console.print(table)
    for row in rows:
        if row["slope"] is not None and row["note"]:
            console.print(Text(f"{', '.join(_group_texts(row, different)) or title}: {row['note']}"))


def _group_texts(row: FitRow, names: Sequence[str]) -> list[str]:
    return ["unknown" if row[name] is None else str(row[name]) for name in names]


def _ends(row: FitRow, name: str) -> str:
    return f"{row[f'{name}_low']:.4f} … {row[f'{name}_high']:.4f}"


def _intervals_over(rows: Sequence[FitRow]) -> list[str]:
    kinds = sorted({row["interval"] for row in rows if row["interval"]})
    return [f"intervals over {' or '.join(kinds)}"] if kinds else []


def _asymptote(row: FitRow) -> str:
    if row["asymptote"] is None:
        return "–"
    low, high = percent(row["asymptote_low"]), percent(row["asymptote_high"])
    return f"{percent(row['asymptote'])} ({low} … {high})"


def _saturation_p(row: FitRow) -> str:
    p = row["saturation_p"]
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _x_at_target(row: FitRow) -> str:
    if row["x_at_target"] is None:
        return "not within reach"
    low, high = (
        "?" if row[f"x_at_target_{end}"] is None else f"{row[f'x_at_target_{end}']:.3g}" for end in ("low", "high")
    )
    return f"{row['x_at_target']:.3g} ({low} … {high})"


def _asr_at(row: FitRow) -> str:
    if row["asr_at"] is None:
        return "–"
    return f"{percent(row['asr_at'])} ({percent(row['asr_at_low'])} … {percent(row['asr_at_high'])})"


_MORE_COLUMNS = (
    ("n_successes", "broken", lambda row: str(row["n_successes"])),
    ("saturation_p", "saturates at", _asymptote),
    ("saturation_p", "p", _saturation_p),
    ("against_slope_1", "slope 1", lambda row: row["against_slope_1"] or "–"),
    ("n_censored", "never broken", lambda row: str(row["n_censored"])),
    ("x", "x at target ASR", _x_at_target),
    ("at", "ASR at --at", _asr_at),
    ("n_dropped", "left out", lambda row: str(row["n_dropped"])),
    ("n_seeds", "seeds", lambda row: str(row["n_seeds"])),
)
"""A key that some fits have, the column that shows it, and its text."""
