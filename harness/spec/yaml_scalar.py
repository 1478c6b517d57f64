"""What a plain word in YAML means: the core schema of YAML 1.2, so that ``no`` and ``2024-01-31`` are text. PyYAML has
only that of YAML 1.1, where they are not.
"""

from __future__ import annotations

import math
import re

_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LONGEST = 40  # digits; longer ones cannot be in range, and Python refuses to convert very long ones
_RANGE = 2**63


def plain_scalar(text: str) -> str | int | float | bool | None:
    """The value of an unquoted scalar.

    Raises:
        ValueError: a number that is not finite, or an integer beyond 64 bits; says how to mend it.
    """
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return _in_range(text, 10)
    if _BASED.fullmatch(text):
        return _in_range(text, 0)
    if _NOT_FINITE.fullmatch(text):
        raise ValueError("infinity and NaN are not allowed; write a finite number, or quote it if it is text")
    if _FLOAT.fullmatch(text):
        number = float(text)
        if not math.isfinite(number):
            raise ValueError("the number is too large; write a smaller one, or quote it if it is text")
        return number
    return text


def _in_range(text: str, base: int) -> int:
    number = int(text, base) if len(text) <= _LONGEST else _RANGE
    if not -_RANGE <= number < _RANGE:
        raise ValueError("the integer does not fit 64 bits; write a smaller one, or quote it if it is text")
    return number
