"""Free text of others, so that it shows what it is: in a table, on a page, in a terminal, in a spreadsheet."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections.abc import Mapping
from typing import Any, TextIO

from harness.errors import one_line

_JOINERS = "\u200c\u200d"  # without which some scripts cannot be written
_UNSEEN = re.compile(
    "["
    + "".join(
        re.escape(chr(code))
        for code in range(sys.maxunicode + 1)
        if unicodedata.category(chr(code)) in ("Cf", "Zl", "Zp") and chr(code) not in _JOINERS
    )
    + "]"
)
_FORMULA_STARTS = ("=", "+", "-", "@")
"""With which a spreadsheet takes a cell for a formula, as with a tab or a carriage return, which are written out:
https://owasp.org/www-community/attacks/CSV_Injection."""


def visible(text: str) -> str:
    r"""``text`` with what is not seen, and turns the order of what is, in writing: ``\u202e``."""
    return text if text.isascii() else _UNSEEN.sub(lambda found: json.dumps(found[0])[1:-1], text)


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


class VisibleStream:
    """A stream that writes `visible` text to another; all else is that one's."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write ``text``, made visible."""
        return self._stream.write(visible(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
