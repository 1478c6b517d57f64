"""How much goes to the engine's process in one message."""

from __future__ import annotations

_ROWS = 1024  # per message, so that none grows without bound


def message_slices(rows: int) -> list[slice]:
    """Slices that cover ``rows`` rows, one for each message."""
    return [slice(at, min(at + _ROWS, rows)) for at in range(0, rows, _ROWS)]
