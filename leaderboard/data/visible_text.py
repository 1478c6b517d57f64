"""Free text of others, so that it shows what it is: in a table, on a page, in a spreadsheet."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from harness.errors import one_line
from harness.records.visible_text import visible

MAX_CHARACTERS = 1200  # shown of a message, a string or an answer
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


def escape_invisible(text: str) -> str:
    """``text`` with control, format and unassigned characters written out (``\\u202e``), so that none can turn or hide
    what stands next to it.
    """
    return "".join(
        character
        if character in "\n\t " or unicodedata.category(character)[0] not in "CZ"
        else _unicode_escape(character)
        for character in text
    )


def shortened(text: str, most: int = MAX_CHARACTERS) -> str:
    """The same, with the middle left out where it is longer than ``most`` characters."""
    more = len(text) - most
    if more <= 0:
        return escape_invisible(text)
    half = most // 2
    return f"{escape_invisible(text[:half])} … ({more} more characters) … {escape_invisible(text[half - most :])}"


def _unicode_escape(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
