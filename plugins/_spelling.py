"""Suggestions for misspelt names in error messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(wrong: object, known: Iterable[object]) -> str:
    """The known name closest to a wrong one, as words to append to an error; "" where none is close."""
    close = difflib.get_close_matches(str(wrong), [str(name) for name in known], n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""
