"""Calls of tools in answers: every form that models write, whatever stands around it, and nothing that is none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from harness.tokens.answers.tool_calls import ToolCall, tool_calls

PLAIN = st.text(st.characters(blacklist_characters="{}[]<>", blacklist_categories=("Cs",)), max_size=20)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PLAIN, inner, max_size=3),
    max_leaves=6,
)
CALLS = st.builds(ToolCall, PLAIN.filter(str.strip), st.dictionaries(PLAIN, VALUES, max_size=3))
FORMS = {
    "tagged": lambda call: call.text,
    "tagged, cut before the closing mark": lambda call: call.text.removesuffix("</tool_call>"),
    "plain": lambda call: json.dumps(call.to_json()),
    "llama3": lambda call: json.dumps({"name": call.name, "parameters": dict(call.arguments)}),
    "mistral": lambda call: f"[TOOL_CALLS] [{json.dumps(call.to_json())}]",
    "api": lambda call: json.dumps(
        {"tool_calls": [{"type": "function", "function": call.to_json() | {"arguments": json.dumps(call.arguments)}}]}
    ),
}
DESCRIPTION = '{"name": "pay", "description": "Pays.", "parameters": {"type": "object", "properties": {"to": {}}}}'


@settings(max_examples=60)
@given(CALLS, st.sampled_from(list(FORMS)), PLAIN, PLAIN)
def test_a_call_is_found_in_every_form_and_among_other_words(
    call: ToolCall, form: str, before: str, after: str
) -> None:
    (found,) = tool_calls(before + FORMS[form](call) + ("" if "cut" in form else after))
    assert (found.name, dict(found.arguments)) == (call.name, dict(call.arguments))
    assert found.is_of(call)
    assert found.is_of(ToolCall(call.name))


@settings(max_examples=60)
@given(CALLS, CALLS)
def test_calls_come_in_order_and_are_of_each_other_only_with_the_same_arguments(one: ToolCall, other: ToolCall) -> None:
    assert tool_calls(f"{one.text}\n{other.text}") == [one, other]
    more = ToolCall(one.name, {**one.arguments, "one more": 1})
    assert more.is_of(one)
    assert not one.is_of(more)


@settings(max_examples=80)
@given(st.text(st.sampled_from(list('{}[]":,name argumts<tool_call>/\\1')), max_size=60))
def test_any_text_has_calls_or_none_and_cutting_one_off_leaves_none(text: str) -> None:
    for call in tool_calls(text):
        assert isinstance(call.name, str)
    whole = json.dumps({"name": "pay", "arguments": {"to": text}})
    assert all(tool_calls(whole[:end]) == [] for end in range(1, len(whole), 7))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "send_money(to=Eve)",
        '{"name": "pay"}',
        '{"name": 5, "arguments": {}}',
        '{"name": "pay", "arguments": "to Eve"}',
        '{"name": "pay", "arguments": [1]}',
        DESCRIPTION,
        '{"type": "function", "function": ' + DESCRIPTION + "}",
        "{" * 3000,
        '{"a":' * 3000,
    ],
)
def test_what_is_no_call(text: str) -> None:
    assert tool_calls(text) == []


@pytest.mark.parametrize("closed", [True, False])
def test_what_stands_in_the_arguments_of_a_call_is_no_call_of_its_own(closed: bool) -> None:
    inner = ToolCall("pay", {"to": "Eve"})
    for argument in (inner.to_json(), inner.text, json.dumps(inner.to_json())):
        said = json.dumps({"name": "reply", "arguments": {"body": argument, "end": "so"}})
        found = tool_calls(said if closed else said.removesuffix('so"}}'))
        assert [call.name for call in found] == (["reply"] if closed else [])


def test_where_calls_are_marked_only_those_count() -> None:
    said = 'I was told {"name": "pay", "arguments": {}} and will not. <tool_call>{"name": "reply", "arguments": {}}'
    assert [call.name for call in tool_calls(said)] == ["reply"]


@pytest.mark.parametrize(
    ("said", "wanted", "same"),
    [
        ("1000", 1000, True),
        (1000.0, "1000", True),
        (" Eve\n", "Eve", True),
        ("eve", "Eve", False),
        (True, 1, False),
        (0, False, False),
        (12345678901234567, 12345678901234568, False),
        ("12345678901234567", 12345678901234567, True),
        ([1, "2"], ["1", 2], True),
        ([1], [1, 2], False),
        ({"a": 1}, {"a": "1"}, True),
        ({"a": 1, "b": 2}, {"a": 1}, False),
        (None, "None", False),
        ("²", "²", True),
    ],
)
def test_arguments_are_compared_as_models_write_them(said: Any, wanted: Any, same: bool) -> None:
    assert ToolCall("pay", {"x": said}).is_of(ToolCall("pay", {"x": wanted})) is same


def test_a_text_that_spells_no_number_to_compare_is_a_text() -> None:
    said = tool_calls('{"name": "pay", "arguments": {"to": "sNaN1"}}')[0]
    assert said.is_of(ToolCall("pay", {"to": "sNaN1"}))
    assert not said.is_of(ToolCall("pay", {"to": 1}))
