"""Whether the hub can be reached: asked with one short try, because its own library keeps trying for half a minute."""

from __future__ import annotations

import time

TIMEOUT = 5.0  # seconds; a check should not hang on a slow hub
_REMEMBERED = 60.0  # seconds; a later try may find the network back
_last: list[tuple[float, str]] = []


def why_unreachable() -> str:
    """Why the hub does not answer, in a line; "" where it does. Asked at most once a minute."""
    if _last and time.monotonic() - _last[0][0] < _REMEMBERED:
        return _last[0][1]
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=TIMEOUT)
        reason = ""
    except Exception as error:  # no network, offline mode: many unrelated classes
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    _last[:] = [(time.monotonic(), reason)]
    return reason
