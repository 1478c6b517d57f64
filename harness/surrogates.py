"""Halves of surrogate pairs: no characters, yet JSON can spell them (`"\\ud83d"`) and file names of bytes become them.
Neither UTF-8 nor a tokenizer takes them, so each is replaced where its text enters.
"""

from __future__ import annotations

import re

_SURROGATE = re.compile("[\ud800-\udfff]")


def has_surrogates(text: str) -> bool:
    """Whether half of a surrogate pair stands in a text, which UTF-8 cannot hold."""
    return not text.isascii() and _SURROGATE.search(text) is not None


def replace_surrogates(text: str) -> str:
    """The text with U+FFFD for each half of a surrogate pair, so that it can be written as UTF-8 and tokenised."""
    return _SURROGATE.sub("\ufffd", text) if has_surrogates(text) else text
