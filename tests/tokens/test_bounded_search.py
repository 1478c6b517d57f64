"""Searching for regular expressions within a limit of time."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, strategies as st

from harness.errors import DataError
from harness.tokens.answers.answer_rule import AnswerRule
from harness.tokens.answers.bounded_search import check_pattern, found_in


def test_a_pattern_that_never_ends_is_an_error_that_names_it() -> None:
    began = time.process_time()
    with pytest.raises(DataError, match=r"'\(a\|aa\)\+\$' took longer than 0.05 s .* 61 characters"):
        found_in("(a|aa)+$", "a" * 60 + "!", seconds=0.05)
    assert time.process_time() - began < 20


@pytest.mark.parametrize("pattern", ["a{99999999999999}", "(" * 5000 + "a" + ")" * 5000, "(?i", "(a"])
def test_what_is_no_pattern_is_a_value_error(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"not a regular expression|too many nested"):
        AnswerRule(pattern=pattern)


PIECES = st.sampled_from(
    ["a", "b", "{e}", "{1,2}", "{2}", "{e<=1}", "(?:ab)", "[ab{]", r"\{", r"\b", "{}", " ", "(?:a|b)"]
)


@given(st.lists(PIECES, min_size=1, max_size=5).map("".join), st.text("ab{}e<=1 2", max_size=8))
def test_it_finds_what_re_finds(pattern: str, text: str) -> None:
    try:
        expected = re.search(pattern, text) is not None
    except re.error:
        return
    check_pattern(pattern)
    assert found_in(pattern, text) is expected
