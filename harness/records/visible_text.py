"""Text of others so that it shows what it is: what nobody sees in writing; and names of specs as those of files."""

from __future__ import annotations

import json
import unicodedata

_JOINERS = "\u200c\u200d"  # without which some scripts cannot be written
_UNSEEN = ("Cf", "Zl", "Zp")  # categories of Unicode: format characters, separators of lines and of paragraphs


def visible(text: str) -> str:
    r"""``text`` with what is not seen, and turns the order of what is, in writing: ``\u202e``."""
    if text.isascii():
        return text
    unseen = [c for c in set(text) if unicodedata.category(c) in _UNSEEN and c not in _JOINERS]
    return text.translate({ord(character): json.dumps(character)[1:-1] for character in unseen})


SPEC_NAME = r"^[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*$"
"""Words, with / between them those of a folder: ``study/spam``."""


def file_name(spec_name: str) -> str:
    """A spec's name as that of a file or folder: ``study-spam``."""
    return spec_name.replace("/", "-")
