"""Rules on answers, out of a row of a table."""

from __future__ import annotations

import json
from typing import Any

from harness import AnswerRule, DataError, ToolCall, did_you_mean
from plugins.tasks._data.records import Record, is_missing

_RULES = ("phrase", "pattern", "call")
_EXAMPLE = '{"phrase": "..."}, {"pattern": "..."} or {"call": {"name": "...", "arguments": {...}}}'


def rules_of(record: Record, column: str) -> tuple[AnswerRule, ...]:
    """The rules in a column: one or a list of them, a text being a phrase; none where there is no such column, or it is
    empty.

    Raises:
        DataError: what stands there is no rule.
    """
    if column not in record.values or is_missing(record[column]):
        return ()
    given = json_value(record, column)
    items = given if isinstance(given, list) else [given]
    return tuple(_rule(item, f"{record.where}: {column}") for item in items)


def json_value(record: Record, column: str) -> Any:
    """The value of a column; where it is a text that begins as JSON does, as in CSV, what that spells.

    Raises:
        DataError: no such column, or it begins so and is no JSON.
    """
    value = record[column]
    if not isinstance(value, str) or not value.lstrip().startswith(("{", "[")):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{record.where}: {column}: not JSON ({error}); fix it, or write an object") from None


def _rule(given: Any, where: str) -> AnswerRule:
    if isinstance(given, str):
        given = {"phrase": given}
    if not isinstance(given, dict):
        raise DataError(f"{where}: a rule is an object, got {type(given).__name__}; write {_EXAMPLE}")
    # Tables of Parquet have all columns in each row.
    given = {name: value for name, value in given.items() if value is not None}
    if unknown := sorted(given.keys() - set(_RULES)):
        near = did_you_mean(unknown[0], _RULES)
        raise DataError(f"{where}: no rule is called {unknown[0]!r}{near}; write {_EXAMPLE}")
    for name in given.keys() - {"call"}:
        if not isinstance(given[name], str):
            raise DataError(f"{where}.{name}: {type(given[name]).__name__}, not text; write it in quotes")
    if "call" in given:
        given["call"] = _call(given["call"], f"{where}.call")
    try:
        return AnswerRule(**given)
    except ValueError as error:
        raise DataError(f"{where}: {error}; write {_EXAMPLE}") from None


def _call(given: Any, where: str) -> ToolCall:
    form = '{"name": "send_money", "arguments": {"to": "Eve"}}'
    if not isinstance(given, dict):
        raise DataError(f"{where}: {type(given).__name__}, not an object; write {form}")
    if unknown := sorted(given.keys() - {"name", "arguments"}):
        raise DataError(f"{where}: {unknown[0]!r} is not allowed there; write {form}")
    name, arguments = given.get("name"), given.get("arguments")
    if not isinstance(name, str) or not name.strip():
        raise DataError(f"{where}.name: the tool's name is missing; write {form}")
    if not isinstance(arguments, dict | None):
        raise DataError(f"{where}.arguments: {type(arguments).__name__}, not an object by name; write {form}")
    return ToolCall(name, arguments or {})
