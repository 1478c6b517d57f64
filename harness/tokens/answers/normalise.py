"""Texts made alike before they are compared."""

from __future__ import annotations

import unicodedata

_APOSTROPHES = str.maketrans(dict.fromkeys("’‘‛ʼʻ′´`＇", "'") | dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff"))


def normalise_text(text: str) -> str:
    """The text in NFKC and small letters, with plain apostrophes, single spaces and no invisible characters."""
    return " ".join(unicodedata.normalize("NFKC", text.translate(_APOSTROPHES)).casefold().split())
