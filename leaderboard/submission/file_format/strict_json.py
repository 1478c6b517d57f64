"""JSON from strangers: bounded in size, count and depth; no name twice, no NaN, no number that is out of range."""

from __future__ import annotations

import json
import math
from typing import Any

from leaderboard.submission.file_format.errors import RefusedError, shown
from leaderboard.submission.file_format.limits import JSON_DEPTH, JSON_VALUES, STRING_BYTES

_INTEGERS = 2**63
_ALLOWED_CONTROLS = "\n\t"


def load_json(raw: bytes, where: str) -> Any:
    """The value in ``raw``, whose length the caller has bounded.

    Raises:
        RefusedError: not UTF-8, not JSON, or beyond a bound of `limits`; says ``where``.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RefusedError(f"{where}: is not UTF-8 text (byte {error.start})") from None
    values = sum(raw.count(mark) for mark in (b",", b":", b"[", b"{"))
    if values > JSON_VALUES:
        raise RefusedError(f"{where}: holds about {values:,} values, more than {JSON_VALUES:,}")
    try:
        data = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_constant, parse_float=_finite, parse_int=_whole
        )
    except RecursionError:
        raise RefusedError(f"{where}: is nested deeper than {JSON_DEPTH} levels") from None
    except ValueError as error:
        raise RefusedError(f"{where}: {_reason(error)}") from None
    _check(data, where)
    return data


def _reason(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"is not valid JSON ({error.msg}, line {error.lineno})"
    return str(error)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {shown(twice)} stands twice in one object")
    return found


def _constant(text: str) -> float:
    raise ValueError(f"{text} is no number that JSON knows")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {shown(text)} is too large")
    return number


def _whole(text: str) -> int:
    number = int(text) if len(text) <= 20 else _INTEGERS
    if not -_INTEGERS <= number < _INTEGERS:
        raise ValueError(f"the integer {shown(text, 24)} does not fit 64 bits")
    return number


def _check(data: Any, where: str) -> None:
    """Depth, and every string: of a bounded length, of characters that can be written and that drive no terminal."""
    level = [data]
    for _ in range(JSON_DEPTH + 1):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                for name in value:
                    _check_text(name, where)
                below += value.values()
            elif isinstance(value, list):
                below += value
            elif isinstance(value, str):
                _check_text(value, where)
        if not below:
            return
        level = below
    raise RefusedError(f"{where}: is nested deeper than {JSON_DEPTH} levels")


def _check_text(text: str, where: str) -> None:
    if len(text) > STRING_BYTES:
        raise RefusedError(f"{where}: a string of {len(text):,} characters, more than {STRING_BYTES:,}")
    if text.isascii() and text.isprintable():
        return
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise RefusedError(f"{where}: half of a surrogate pair in the string {shown(text)}")
    if any((c < " " or "\x7f" <= c <= "\x9f") and c not in _ALLOWED_CONTROLS for c in text):
        raise RefusedError(f"{where}: a control character in the string {shown(text)}")
