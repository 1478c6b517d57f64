"""Calls of tools in an answer, as chat models write them: JSON objects with a name and arguments."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

_OPEN = "<tool_call>"
_MARK = re.compile("</?tool_call>")
_ARGUMENTS = ("arguments", "parameters")  # Llama 3 writes the second
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool.

    Attributes:
        name: of the tool.
        arguments: by name, as JSON data.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def text(self) -> str:
        """The call as Hermes, Qwen and SmolLM2 write it: JSON between ``<tool_call>`` and ``</tool_call>``."""
        return f"<tool_call>\n{json.dumps(self.to_json(), ensure_ascii=False)}\n</tool_call>"

    def to_json(self) -> dict[str, Any]:
        """JSON data of the call."""
        return {"name": self.name, "arguments": dict(self.arguments)}

    def is_of(self, wanted: ToolCall) -> bool:
        """Whether it calls the same tool with at least these arguments. Texts are compared without white space around
        them; a number equals the text that spells it, since models write either.
        """
        return self.name.strip() == wanted.name.strip() and all(
            name in self.arguments and _alike(self.arguments[name], value) for name, value in wanted.arguments.items()
        )


def tool_calls(text: str) -> list[ToolCall]:
    """The calls in an answer, in order.

    A call is a JSON object ``{"name": …, "arguments": {…}}``, also with ``parameters`` for ``arguments``, with the
    arguments as a text of JSON, inside ``{"function": …}`` or in a list under ``tool_calls``. Where the answer marks
    calls with ``<tool_call>``, what is not marked is none; else any such object in it is one. What is cut off before
    its end is none, nor what stands within the arguments of another.
    """
    found, marks, open_, at = [], False, False, 0
    for start, end, value in _json_objects(text):
        for mark in _MARK.findall(text, at, start):  # a mark inside an object is a text of its own
            open_ = mark == _OPEN
            marks |= open_
        found += [(open_, call) for call in _calls_of(value)]
        at = end
    return [call for marked, call in found if marked or not marks]


def _json_objects(text: str) -> Iterator[tuple[int, int, Any]]:
    """The outermost JSON objects in a text, each with where it begins and ends."""
    at = text.find("{")
    while at >= 0:
        try:
            value, end = _DECODER.raw_decode(text, at)
        except json.JSONDecodeError as error:
            if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated"):
                return  # the answer was cut off within this object, and all that follows is inside it
            end = at + 1
        except (ValueError, RecursionError):  # a number of thousands of digits; thousands of brackets
            end = at + 1
        else:
            yield at, end, value
        at = text.find("{", end)


def _calls_of(value: Any, wrappers: int = 3) -> Iterator[ToolCall]:
    """The calls that a value is or wraps, at most so many layers deep."""
    if isinstance(value, list) and wrappers:
        for item in value:
            yield from _calls_of(item, wrappers - 1)
    if not isinstance(value, dict):
        return
    if isinstance(value.get("name"), str):
        given = next((value[key] for key in _ARGUMENTS if key in value), None)
        if (arguments := _object(given)) is not None and not _is_schema(arguments):
            yield ToolCall(value["name"], arguments)
    elif wrappers:
        yield from _calls_of(value.get("function"), wrappers - 1)
        yield from _calls_of(value.get("tool_calls"), wrappers - 1)


def _is_schema(parameters: dict[str, Any]) -> bool:
    """Whether this describes a tool's parameters: the answer repeats which tools there are, and calls none."""
    return parameters.get("type") == "object" and isinstance(parameters.get("properties"), dict)


def _object(given: Any) -> dict[str, Any] | None:
    """Arguments as an object, also where they are a text of JSON; None where they are neither."""
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            return None
    return given if isinstance(given, dict) else None


def _alike(said: Any, wanted: Any) -> bool:
    if isinstance(said, dict) and isinstance(wanted, dict):
        return said.keys() == wanted.keys() and all(_alike(said[key], wanted[key]) for key in wanted)
    if isinstance(said, list) and isinstance(wanted, list):
        return len(said) == len(wanted) and all(map(_alike, said, wanted))
    if isinstance(said, bool) or isinstance(wanted, bool):  # True == 1 in Python, and not in JSON
        return said is wanted
    if isinstance(said, int | float | str) and isinstance(wanted, int | float | str):
        return said == wanted or _spelled(said) == _spelled(wanted)
    return bool(said == wanted)


def _spelled(value: float | str) -> str | Decimal:
    """A text without white space around it; where it spells a number, the number."""
    text = str(value).strip()
    try:
        number = Decimal(text) if text[-1:].isdigit() else Decimal("nan")
    except InvalidOperation:
        return text
    return text if number.is_nan() else number  # "sNaN1" is one, and comparing it an error
