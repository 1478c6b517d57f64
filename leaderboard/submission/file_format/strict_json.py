"""JSON from strangers: bounded in size, count and depth; no name twice, no NaN, no number that is out of range."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from leaderboard.submission.file_format.errors import RefusedError, escaped
from leaderboard.submission.file_format.limits import MAX_JSON_DEPTH, MAX_JSON_VALUES, MAX_STRING_BYTES

_INT_BOUND = 2**63
_ALLOWED_CONTROLS = "\n\t"


def load_json(raw: bytes, source: str) -> Any:
    """The value in ``raw``, whose length the caller has bounded.

    Raises:
        RefusedError: not UTF-8, not JSON, or beyond a bound of `limits`; says ``source``.
    """
    text = utf8_text(raw, source)
    values = sum(raw.count(punctuation) for punctuation in (b",", b":", b"[", b"{"))
    if values > MAX_JSON_VALUES:
        raise RefusedError(f"{source}: holds about {values:,} values, more than {MAX_JSON_VALUES:,}")
    try:
        data = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_finite_float,
            parse_int=_int64,
        )
    except RecursionError:
        raise RefusedError(f"{source}: is nested deeper than {MAX_JSON_DEPTH} levels") from None
    except json.JSONDecodeError as error:
        raise RefusedError(f"{source}: is not valid JSON ({error.msg}, line {error.lineno})") from None
    except ValueError as error:
        raise RefusedError(f"{source}: {error}") from None
    _check_values(data, source)
    return data


def utf8_text(raw: bytes, source: str) -> str:
    """``raw`` decoded. Raises RefusedError where it is no UTF-8."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RefusedError(f"{source}: is not UTF-8 text (byte {error.start})") from None


def first_repeated(names: Iterable[str]) -> str | None:
    """The first of ``names`` that stands there twice; None where all are different."""
    seen = set[str]()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        repeated = first_repeated(name for name, _ in pairs)
        raise ValueError(f"the name {escaped(repeated)} appears twice in one object")
    return value


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not a JSON number")


def _finite_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {escaped(text)} is too large")
    return number


def _int64(text: str) -> int:
    number = int(text) if len(text) <= 20 else _INT_BOUND
    if not -_INT_BOUND <= number < _INT_BOUND:
        raise ValueError(f"the integer {escaped(text, 24)} does not fit 64 bits")
    return number


def _check_values(data: Any, source: str) -> None:
    """Depth, and every string: of a bounded length, of characters that can be written and that drive no terminal."""
    level = [data]
    for _ in range(MAX_JSON_DEPTH + 1):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                for name in value:
                    _check_string(name, source)
                below += value.values()
            elif isinstance(value, list):
                below += value
            elif isinstance(value, str):
                _check_string(value, source)
        if not below:
            return
        level = below
    raise RefusedError(f"{source}: is nested deeper than {MAX_JSON_DEPTH} levels")


def _check_string(text: str, source: str) -> None:
    if len(text) > MAX_STRING_BYTES:
        raise RefusedError(f"{source}: a string of {len(text):,} characters, more than {MAX_STRING_BYTES:,}")
    if text.isascii() and text.isprintable():
        return
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise RefusedError(f"{source}: half of a surrogate pair in the string {escaped(text)}")
    if any((c < " " or "\x7f" <= c <= "\x9f") and c not in _ALLOWED_CONTROLS for c in text):
        raise RefusedError(f"{source}: a control character in the string {escaped(text)}")
