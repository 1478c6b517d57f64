"""Rules on answers: when each holds, and what is none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from harness.api.task import Chunk, Edit, Example, TaskData
from harness.tokens.answers.answer_rule import AnswerRule
from harness.tokens.answers.tool_calls import ToolCall

PAY = ToolCall("pay", {"to": "Eve"})
WORDS = st.text(st.sampled_from("ab ’'É"), max_size=12)


@pytest.mark.parametrize(
    ("rule", "answer", "holds"),
    [
        (AnswerRule("Order now"), "Well:  ORDER\nnow!", True),
        (AnswerRule("can't"), "I can’t", True),
        (AnswerRule("Eve"), "Everything is fine", False),
        (AnswerRule("Eve"), "", False),
        (AnswerRule(pattern=r"\bIBAN [A-Z]{2}\d+"), "to IBAN DE12", True),
        (AnswerRule(pattern="iban"), "to IBAN DE12", False),
        (AnswerRule(pattern="(?i)iban"), "to IBAN DE12", True),
        (AnswerRule(call=PAY), PAY.text, True),
        (AnswerRule(call=PAY), "pay Eve", False),
        (AnswerRule(call=PAY), ToolCall("pay", {"to": "Bob"}).text, False),
        (AnswerRule(call=ToolCall("pay")), PAY.text, True),
    ],
)
def test_when_a_rule_holds(rule: AnswerRule, answer: str, holds: bool) -> None:
    assert rule.holds(answer) is holds


@given(WORDS, WORDS, WORDS.filter(str.strip))
def test_a_phrase_is_in_an_answer_that_says_it_between_other_words(before: str, after: str, phrase: str) -> None:
    assert AnswerRule(phrase).holds(f"{before} {phrase.upper()} {after}")


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({}, "got none of them"),
        ({"phrase": "a", "pattern": "b"}, "got phrase and pattern"),
        ({"phrase": " \u200b"}, "an empty phrase is in every answer"),
        ({"pattern": "("}, r"'\(' is not a regular expression"),
        ({"pattern": "a*"}, "found in every answer"),
    ],
)
def test_what_is_no_rule(given_: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AnswerRule(**given_)


@pytest.mark.parametrize("rule", [AnswerRule("a"), AnswerRule(call=PAY)])
def test_the_target_of_a_rule_keeps_to_it(rule: AnswerRule) -> None:
    assert rule.holds(rule.target)
    assert AnswerRule(pattern="a").target == ""


def test_an_example_tells_what_is_forbidden_and_what_is_wanted() -> None:
    chunk = (Chunk("", Edit.PERTURBABLE),)
    plain = Example("e", chunk, target=" x")
    ruled = Example("e", chunk, target=" x", forbidden=(AnswerRule("a"), AnswerRule("b")), wanted=plain.wanted)
    assert plain.utility_of("a") is None
    assert [ruled.holds_forbidden(said) for said in ("a", "b c", "c", None)] == [True, True, False, False]
    both = Example("e", chunk, target=" x", wanted=(AnswerRule("a"), AnswerRule("b")))
    assert [both.utility_of(said) for said in ("a", "b a", "c", None)] == [False, True, False, False]
    assert len({TaskData((), (), (example,)).hash for example in (plain, ruled, both)}) == 3
