"""Reasoning is parted from answers: several blocks, one that the prompt began, one without an end, stray markers."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from harness.tokens.reasoning import KNOWN_MARKERS, is_open, markers_in, split_reasoning

TAGS = ("<think>", "</think>")


@pytest.mark.parametrize(
    ("text", "begun", "reasoning", "answer"),
    [
        ("  Sure, \n", False, "", "  Sure, \n"),  # as it is
        ("", False, "", ""),
        ("<think>\nno, I can't\n</think>\n\nSure.\n", False, "no, I can't", "Sure."),
        ("no, I can't\n</think>\n\nSure.", True, "no, I can't", "Sure."),
        ("I can't … </think> Sure", False, "I can't …", "Sure"),  # its beginning was left out
        ("<think>hm", False, "hm", None),
        ("hm", True, "hm", None),
        ("", True, "", None),
        ("<think></think>", False, "", ""),  # an empty answer is an answer
        ("</think>yes", True, "", "yes"),
        ("<think>a</think> one <think>b</think> two", False, "a\nb", "one\ntwo"),
        ("<think>a</think> one <think>b", False, "a\nb", None),
        ("one <think>b</think>", False, "b", "one"),
        ("<think>what does <think> mean?</think>A tag.", False, "what does <think> mean?", "A tag."),
        ("<think>a<think>b</think>c</think>d", False, "a<think>b\nc", "d"),  # not nested: closed at the first
        ("<think>a</think>b</think>c", False, "a\nb", "c"),
        ("<think>a", True, "<think>a", None),  # the model repeats what the prompt began
        ("<THINK>a</THINK>b", False, "", "<THINK>a</THINK>b"),
    ],
)
def test_reasoning_and_answer(text: str, begun: bool, reasoning: str, answer: str | None) -> None:
    assert split_reasoning(text, *TAGS, begun=begun) == (reasoning, answer)


@given(st.lists(st.sampled_from((*TAGS, "x", "y ", "\n")), max_size=12), st.booleans())
def test_laws(parts: list[str], begun: bool) -> None:
    """What is open at the end is no answer; no closing marker is left anywhere; nothing is made up or said twice."""
    text = "".join(parts)
    reasoning, answer = split_reasoning(text, *TAGS, begun=begun)
    assert (answer is None) == is_open(("<think>" if begun else "") + text, *TAGS)
    assert "</think>" not in reasoning + (answer or "")
    assert "<think>" not in (answer or "")
    if answer is not None:
        letters = [c for c in text.replace("<think>", "").replace("</think>", "") if c in "xy"]
        assert sorted(letters) == sorted(c for c in reasoning.replace("<think>", "") + answer if c in "xy")


@pytest.mark.parametrize("pair", KNOWN_MARKERS)
def test_markers_are_found_in_a_template(pair: tuple[str, str]) -> None:
    template = f"{{{{ messages[0].content.split('{pair[1]}')[-1] }}}}"
    assert markers_in(template) == pair
    assert split_reasoning(f"{pair[0]}hm{pair[1]}yes", *pair) == ("hm", "yes")


def test_a_template_without_reasoning_tells_of_none() -> None:
    assert markers_in("{{ messages[0].content }}<think>") is None


def test_harmony_channels() -> None:
    """gpt-oss names its channels: what goes to any other channel is no answer."""
    pair = next(pair for pair in KNOWN_MARKERS if "final" in pair[1])
    text = "<|channel|>analysis<|message|>Must refuse.<|end|><|start|>assistant<|channel|>final<|message|>No."
    assert split_reasoning(text, *pair)[1] == "No."
    assert split_reasoning("<|channel|>analysis<|message|>Must", *pair)[1] is None
