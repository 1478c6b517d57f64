"""Conversations with one marked place, out of a row of a table."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from harness import DataError, Message, Messages, did_you_mean, tool_calls
from plugins.tasks._data.answer_rules import json_value
from plugins.tasks._data.records import Record

PLACE = "{attack}"
"""Marks where the attacker's text stands."""
_ROLES = ("system", "user", "assistant", "tool")
_FORM = '{"role": "tool", "content": "..."}'


class MarkedMessages(NamedTuple):
    """A conversation with a place for a text of others.

    Attributes:
        before, after: the messages around that with the place.
        role: of that message.
        head, tail: what it says before and after the place.
    """

    before: Messages
    role: str
    head: str
    tail: str
    after: Messages


def marked_messages(record: Record, column: str) -> MarkedMessages:
    """The conversation in a column: a list of ``{"role": …, "content": …}``, of the assistant also with ``tool_calls``
    as chat APIs write them, `PLACE` once in the content of a tool's or a user's message.

    Raises:
        DataError: it is none; names the message and the fix.
    """
    given, where = json_value(record, column), f"{record.where}: {column}"
    if not isinstance(given, list) or not given:
        raise DataError(f"{where}: not a list of messages; write [{_FORM}, ...]")
    messages = [_message(item, f"{where}[{at}]") for at, item in enumerate(given)]
    if messages[-1].role not in ("user", "tool"):
        raise DataError(f"{where}: the last message is of the {messages[-1].role}; end with the user or a tool")
    places = [at for at, message in enumerate(messages) for _ in range(message.content.count(PLACE))]
    if len(places) != 1:
        raise DataError(
            f"{where}: {PLACE} stands there {len(places)} times; write it once, where the attacker's text goes"
        )
    at = places[0]
    if messages[at].role not in ("user", "tool"):
        raise DataError(f"{where}[{at}]: {PLACE} in a message of the {messages[at].role}; put it into a tool's result")
    head, tail = messages[at].content.split(PLACE)
    return MarkedMessages(tuple(messages[:at]), messages[at].role, head, tail, tuple(messages[at + 1 :]))


def _message(given: Any, where: str) -> Message:
    if not isinstance(given, dict):
        raise DataError(f"{where}: {type(given).__name__}, not an object; write {_FORM}")
    known = ("role", "content", "tool_calls")
    given = {name: value for name, value in given.items() if value is not None}
    if unknown := sorted(given.keys() - set(known)):
        near = did_you_mean(unknown[0], known)
        raise DataError(f"{where}: {unknown[0]!r} is not allowed there{near}; known: {', '.join(known)}")
    role, content = given.get("role"), given.get("content", "")
    if role not in _ROLES:
        raise DataError(f"{where}.role: {role!r}{did_you_mean(role, _ROLES)}; write one of {', '.join(_ROLES)}")
    if not isinstance(content, str):
        raise DataError(f"{where}.content: {type(content).__name__}, not text; write a text")
    if "tool_calls" in given:
        if role != "assistant":
            raise DataError(f"{where}.tool_calls: of the {role}; only the assistant calls tools")
        content = "\n".join(filter(None, [content, *_calls(given["tool_calls"], f"{where}.tool_calls")]))
    if not content.strip():
        raise DataError(f"{where}.content: the message is empty; write a text, or leave the message out")
    return Message(role, content)


def _calls(given: Any, where: str) -> list[str]:
    """The calls as text, since a conversation here is made of texts."""
    form = '[{"name": "read_mail", "arguments": {}}]'
    if not isinstance(given, list):
        raise DataError(f"{where}: {type(given).__name__}, not a list; write {form}")
    found = tool_calls(json.dumps({"tool_calls": given}))
    if len(found) != len(given):
        raise DataError(f"{where}: {len(given) - len(found)} of {len(given)} are not calls; write {form}")
    return [call.text for call in found]
