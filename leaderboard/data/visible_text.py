"""Free text of others, so that it shows what it is: in a table, on a page, in a spreadsheet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.errors import one_line
from harness.records.visible_text import visible

_FORMULA_STARTS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
"""With which a spreadsheet takes a cell for a formula, as with a tab or a line break, which are written out;
https://owasp.org/www-community/attacks/CSV_Injection."""


def visible_data(data: Any) -> Any:
    """JSON data with all its texts and names `visible`."""
    if isinstance(data, str):
        return visible(data)
    if isinstance(data, Mapping):
        return {visible(str(name)): visible_data(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [visible_data(value) for value in data]
    return data


def cell_text(text: str) -> str:
    """``text`` for a spreadsheet, in one line: one that would be taken for a formula behind an apostrophe."""
    shown = one_line(visible(text))
    return f"'{shown}" if shown.startswith(_FORMULA_STARTS) else shown
