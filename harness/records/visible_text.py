"""Text of others, so that it shows what it is: characters that nobody sees, or that turn others about, in writing."""

from __future__ import annotations

import json
import re
import sys
import unicodedata

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


def visible(text: str) -> str:
    r"""``text`` with what is not seen, and turns the order of what is, in writing: ``\u202e``."""
    return text if text.isascii() else _UNSEEN.sub(lambda found: json.dumps(found[0])[1:-1], text)
