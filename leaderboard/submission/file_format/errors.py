"""What is said of a file that is refused."""

from __future__ import annotations

from harness.errors import DataError


class RefusedError(DataError):
    """A submission or entry that cannot be taken as one; the message names the file, the field and the reason."""


def escaped(text: object, longest: int = 80) -> str:
    """Something of a stranger's file, for a message: escaped, so that a terminal is not driven by it, and short."""
    whole = ascii(text) if len(str(text)) <= longest else ascii(str(text)[:longest]) + "…"
    return whole[: 2 * longest]
