"""How fast one thread multiplies matrices; run as a process of its own, with one thread.

By the processor's time, not the clock's: what else the machine does then takes little of it. With three times as many
busy processes as processors it found the same within 7%, where the clock told half as much.
"""

from __future__ import annotations

import math
import time

import numpy as np

_SIDE, _SECONDS = 768, 1.0


def thread_rate() -> float:
    """FLOP/s of the quickest of square products in float32 that are repeated for a second."""
    a = np.ones((_SIDE, _SIDE), dtype=np.float32)
    a @ a  # the first call makes the library ready
    quickest, began = math.inf, time.monotonic()
    while time.monotonic() - began < _SECONDS:
        start = time.process_time()
        a @ a
        quickest = min(quickest, time.process_time() - start)
    return 2.0 * _SIDE**3 / quickest


if __name__ == "__main__":
    print(thread_rate())
