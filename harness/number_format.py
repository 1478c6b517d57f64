"""Numbers as people read them."""

from __future__ import annotations

import re
from math import isinf, isnan

from harness.api.model.shape import Memory
from harness.errors import RunError

_BYTES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"))
_PREFIXES = ((1e24, "Y"), (1e21, "Z"), (1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))

_DAY, _YEAR = 86_400, 31_557_600


def format_flops(value: float | None) -> str:
    """``1.2 TFLOP``; ``unknown`` for None and NaN."""
    if value is None or isnan(value):
        return "unknown"
    for size, prefix in _PREFIXES:
        if value >= size:
            return f"{value / size:.3g} {prefix}FLOP"
    return f"{value:.3g} FLOP"


_FLOPS = re.compile(r"\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*([kMGTPEZY]?)(?:FLOPS?)?\s*", re.IGNORECASE)


def parse_flops(text: str, option: str) -> float:
    """An amount of compute as people write it, ``1e12``, ``500GFLOP`` or ``1.5 TFLOPs``, in FLOPs.

    Args:
        option: that it is the value of, for the error.

    Raises:
        RunError: it is none, or not above 0.
    """
    found = _FLOPS.fullmatch(text)
    sizes = {prefix.lower(): size for size, prefix in _PREFIXES} | {"": 1.0}
    try:
        value = float(found[1]) * sizes[found[2].lower()] if found else 0.0
    except ValueError:  # such as 1.2.3
        value = 0.0
    if not value > 0 or isinf(value):
        raise RunError(f"{option} {text}: no amount of compute above 0; write FLOPs, such as 1e12 or 500GFLOP")
    return value


def format_memory(value: Memory | None) -> str:
    """``1.2 GB``, ``2.5 GB and 14 GB on the GPU``; ``unknown`` for None."""
    if value is None:
        return "unknown"
    return format_bytes(value.process) + (f" and {format_bytes(value.gpu)} on the GPU" if value.gpu else "")


def format_bytes(value: float) -> str:
    """``950 MB``, ``1.2 GB``, ``14 GB``."""
    size, name = next(((size, name) for size, name in _BYTES if value >= size), _BYTES[-1])
    return f"{value / size:.2g} {name}" if value < 10 * size else f"{value / size:.0f} {name}"


def format_seconds(seconds: float | None) -> str:
    """``45 s``, ``12 min``, ``3.4 h``, ``12 days``, ``3.1 years``; ``unknown`` for None."""
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 3 * _DAY:
        return f"{seconds / 3600:.1f} h"
    if seconds < 2 * _YEAR:
        return f"{seconds / _DAY:.0f} days"
    years = seconds / _YEAR
    return f"{years:.1f} years" if years < 100 else f"{float(f'{years:.2g}'):,.0f} years"


def with_unknown(total: str, unknown: int, stages: int) -> str:
    """A sum over stages and what it leaves out: ``1.2 TFLOP + 2 unknown``."""
    if not unknown:
        return total
    return "unknown" if unknown == stages else f"{total} + {unknown} unknown"


def counted(count: int, noun: str, plural: str = "") -> str:
    """``1 cell``, ``2 cells``; ``plural`` where that does not end in s alone: ``2 queries``."""
    return f"{count} {noun}" if count == 1 else f"{count} {plural or noun + 's'}"
