"""Prompt templates that a spec may write, with places such as ``{prompt}``."""

from __future__ import annotations

import re
from collections.abc import Sequence


def check_template(template: str, places: Sequence[str]) -> str:
    """The template itself. Raises ValueError where it lacks one of the places."""
    missing = [f"{{{place}}}" for place in places if f"{{{place}}}" not in template]
    if missing:
        raise ValueError(f"the template lacks {' and '.join(missing)}; write it where the text should go")
    return template


def fill_template(template: str, **texts: str) -> str:
    """The template with each text at its place; other braces, those of the texts included, stay as they are."""
    return re.sub(rf"\{{({'|'.join(texts)})\}}", lambda place: texts[place[1]], template)
