"""Texts made alike before they are compared, and phrases looked for in them."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_APOSTROPHES = str.maketrans(dict.fromkeys("’‘‛ʼʻ′´`＇", "'") | dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff"))


def normalise_text(text: str) -> str:
    """The text in NFKC and small letters, with plain apostrophes, single spaces and no invisible characters."""
    return " ".join(unicodedata.normalize("NFKC", text.translate(_APOSTROPHES)).casefold().split())


@lru_cache(maxsize=256)
def phrase_pattern(*phrases: str) -> re.Pattern[str]:
    """Finds one of the phrases in a text as `normalise_text` gives it, not inside a longer word: "as an ai" is not in
    "as an aid".
    """
    return re.compile("|".join(rf"(?<!\w){re.escape(normalise_text(phrase))}(?!\w)" for phrase in phrases))
