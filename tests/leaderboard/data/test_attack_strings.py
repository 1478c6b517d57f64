"""Attack strings as pages show them."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from harness.records.read import read_run
from leaderboard.data.attack_strings import PER_ATTACK, successful_strings
from leaderboard.data.visible_text import MAX_CHARACTERS, escape_invisible, shortened
from tests.leaderboard.fake_run import FakeCell, write_run


@given(st.text(max_size=50))
def test_nothing_invisible_is_left(text: str) -> None:
    shown = escape_invisible(text)
    assert all(c in "\n\t " or unicodedata.category(c)[0] not in "CZ" for c in shown)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a b\n", "a b\n"), ("a\u202eb", "a\\u202eb"), ("\x00\u200b", "\\u0000\\u200b"), ("\U000e0041", "\\U000e0041")],
)
def test_by_hand(text: str, shown: str) -> None:
    assert escape_invisible(text) == shown


def test_long_strings_are_cut_in_the_middle_and_say_so() -> None:
    text = shortened(f"a{'x' * (MAX_CHARACTERS + 5)}z")
    assert (text[0], text[-1], text.count("x")) == ("a", "z", MAX_CHARACTERS - 2)
    assert "… (7 more characters) …" in text
    assert shortened("x" * MAX_CHARACTERS) == "x" * MAX_CHARACTERS


def test_first_successes_of_each_attack(tmp_path: Path) -> None:
    cells = [
        FakeCell(examples=6, steps=5, first_success=[5, 0, 1, 2, 3, 4]),
        FakeCell(attack="none found", examples=2, steps=5, first_success=[0, 0]),
    ]
    (strings,) = successful_strings(read_run(write_run(tmp_path / "run", cells)).cells).values()
    assert [(string.attack, string.example, string.step) for string in strings] == [
        ("gcg", "e2", 1),
        ("gcg", "e3", 2),
        ("gcg", "e4", 3),
    ]
    assert len(strings) == PER_ATTACK
    assert strings[0].shown.answers[0].text is None, "no label was recorded"


def test_answers_in_text_stand_beside(tmp_path: Path) -> None:
    cell = FakeCell(task_kind="text", examples=2, steps=1, first_success=[1, 0])
    ((string,),) = successful_strings(read_run(write_run(tmp_path / "run", [cell])).cells).values()
    assert (string.shown.answers[0].text, string.shown.turns[0].text) == ("Yes", "<b>aa bb</b>")
