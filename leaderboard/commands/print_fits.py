"""Fits in the terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.text import Text

from leaderboard.commands.print_table import plain_table, wide_console
from leaderboard.number_format import percent

_GROUP = ("task", "family", "attack", "n_params", "victim", "threat", "defense", "round")
Row = dict[str, Any]


def print_fits(title: str, fits: Sequence[Row], as_json: bool) -> None:
    """A table, or with ``as_json`` valid JSON (no NaN) and nothing else."""
    if as_json:
        print(json.dumps(list(fits), indent=1, allow_nan=False, ensure_ascii=False))
        return
    names = [name for name in _GROUP if any(name in fit for fit in fits)]
    # A column that says the same in each row goes into the caption.
    same = [name for name in names if len({fit[name] for fit in fits}) == 1 and name != "n_params"]
    shown = [name for name in names if name not in same]
    more = [(head, text) for key, head, text in _MORE if any(fit.get(key) is not None for fit in fits)]
    heads = [*shown, "slope", "95% interval", "intercept", "95% interval", "n", *(head for head, _ in more)]
    table = plain_table(title, heads)
    for fit in fits:
        if fit["slope"] is None:
            numbers = [fit["note"], "", "", ""]
        else:
            numbers = [f"{fit['slope']:.4f}", _span(fit, "slope"), f"{fit['intercept']:.4f}", _span(fit, "intercept")]
        group = ["unknown" if fit[name] is None else str(fit[name]) for name in shown]
        cells = [*group, *numbers, str(fit["n"]), *(text(fit) for _, text in more)]
        table.add_row(*(Text(cell) for cell in cells))
    how = [f"method {fits[0]['method']}", *_intervals(fits)] if fits else []
    table.caption = Text("; ".join([*(f"{name} {fits[0][name]}" for name in same), *how]))
    wide_console().print(table)


def _span(fit: Row, name: str) -> str:
    return f"{fit[f'{name}_low']:.4f} … {fit[f'{name}_high']:.4f}"


def _intervals(fits: Sequence[Row]) -> list[str]:
    kinds = sorted({fit["interval"] for fit in fits if fit["interval"]})
    return [f"intervals over {' or '.join(kinds)}"] if kinds else []


def _asymptote(fit: Row) -> str:
    if fit["asymptote"] is None:
        return "–"
    low, high = percent(fit["asymptote_low"]), percent(fit["asymptote_high"])
    return f"{percent(fit['asymptote'])} ({low} … {high})"


def _p(fit: Row) -> str:
    p = fit["saturation_p"]
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _reach(fit: Row) -> str:
    if fit["x_at_target"] is None:
        return "not within reach"
    low, high = (
        "?" if fit[f"x_at_target_{end}"] is None else f"{fit[f'x_at_target_{end}']:.3g}" for end in ("low", "high")
    )
    return f"{fit['x_at_target']:.3g} ({low} … {high})"


_MORE = (
    ("n_successes", "broken", lambda fit: str(fit["n_successes"])),
    ("saturation_p", "saturates at", _asymptote),
    ("saturation_p", "p", _p),
    ("against_slope_1", "slope 1", lambda fit: fit["against_slope_1"] or "–"),
    ("n_censored", "never broken", lambda fit: str(fit["n_censored"])),
    ("x", "x at target ASR", _reach),
    ("n_seeds", "seeds", lambda fit: str(fit["n_seeds"])),
)
