"""Search for a regular expression with a limit on its time: some take longer than a life on a few hundred letters."""

from __future__ import annotations

import re
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING

from harness.errors import DataError

if TYPE_CHECKING:
    import regex

SECONDS = 5.0
"""Of the processor, that one search may take; a usual one takes microseconds."""
_FUZZY = re.compile(r"\\N\{[^}]*\}|\\.|(?P<brace>\{)(?!\d+(?:,\d*)?\}|,\d*\})", re.DOTALL)


def check_pattern(pattern: str) -> None:
    """Raise ValueError where a text is no regular expression of Python."""
    import regex  # not at the top: every task would import it

    try:
        with warnings.catch_warnings(action="ignore", category=FutureWarning):
            re.compile(pattern)
        _compiled(pattern)
    except (re.error, regex.error, OverflowError) as error:
        raise ValueError(f"{pattern[:200]!r} is not a regular expression ({error})") from None
    except RecursionError:
        raise ValueError(f"{pattern[:50]!r}…: too many nested brackets") from None


def found_in(pattern: str, text: str, seconds: float = SECONDS) -> bool:
    """Whether a text has it somewhere.

    Raises:
        DataError: that took longer than so many seconds of the processor.
    """
    try:
        return _compiled(pattern).search(text, timeout=seconds) is not None
    except TimeoutError:
        raise DataError(
            f"the pattern {pattern!r} took longer than {seconds:g} s on an answer of {len(text):,} characters; write "
            "it without nested repeats, such as (a+)+, and with bounds, such as {0,80} for *"
        ) from None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> regex.Pattern[str]:
    """As the library compiles it that can be timed, read as Python reads it: there ``{e}`` would allow for errors."""
    import regex

    return regex.compile(_FUZZY.sub(lambda found: r"\{" if found["brace"] else found[0], pattern), regex.VERSION0)
