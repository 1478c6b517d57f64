"""Keeps freed memory of the C library's heap in the process: getting it again costs a page fault per 4 KiB.

A forward on a CPU allocates and frees activations of many MiB in every layer. By default glibc hands such blocks back
to the system each time; kept, a forward of a 21M-parameter decoder takes about a tenth less time.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # of mallopt(3)
_LARGEST = 32 << 20  # bytes; glibc takes larger blocks from the system in any case
_KEPT = 1 << 30


@cache
def keep_freed_memory() -> bool:
    """Do so for the rest of the process; False where the C library is not glibc."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    wanted = ((_MMAP_THRESHOLD, _LARGEST), (_TRIM_THRESHOLD, _KEPT), (_TOP_PAD, _LARGEST))
    taken = [mallopt(option, value) == 1 for option, value in wanted]
    return all(taken)
