"""Why an attack string counts as failed without being judged: all values of the column ``failure``."""

from __future__ import annotations

NOT_ALLOWED = "token not allowed"
RETOKENISATION = "retokenisation"
TURNS = "earlier turns not allowed"  # too many of them, too long, of other tokens, or where there may be none
TOO_LONG = "longer than the context"  # the prompt with the string in it
BEYOND_RADIUS = "perturbation beyond the radius"

WITHOUT_TEXT = frozenset({NOT_ALLOWED, RETOKENISATION, TURNS})
"""Reasons that are known from the tokens alone, as `too_many_tokens` is: the string has no text, and is put to nobody.
"""

WITH_TEXT = frozenset({TOO_LONG, BEYOND_RADIUS})
"""Reasons that are known when the victim has been given the string."""


def too_many_tokens(count: int, budget: int) -> str:
    """The reason of a string of ``count`` tokens where the threat model allows ``budget``. It has no text either."""
    return f"{count} tokens, budget {budget}"
