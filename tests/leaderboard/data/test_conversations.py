"""What a page shows of a conversation, out of records."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.records.read import read_run
from leaderboard.data.attack_strings import successful_strings
from leaderboard.data.chat_settings import chat_settings
from leaderboard.data.conversations import MAX_ANSWERS, Conversation
from leaderboard.data.visible_text import MAX_CHARACTERS
from tests.leaderboard.fake_run import FakeCell, write_run

CHAT = {"template": "abc", "system": "default", "system_text": "Be kind.", "prefill": "Sure", "arguments": {"a": 1}}
TALK = [("user", "Look."), ("assistant", "look()"), ("tool", "It says: ")]
ANSWERS = {"samples": 4, "temperature": 1.0, "top_p": 1.0, "max_tokens": None}
DRAWN = [("Yes", "answered", True), (None, None, False), ("", "cut_off", None), ("I will not.", "refused", False)]


def shown(folder: Path, **fields: object) -> Conversation:
    cell = FakeCell(examples=1, wrong=0, steps=2, first_success=[2], task_kind="text", text="STRING", **fields)  # type: ignore[arg-type]
    run = read_run(write_run(folder / "run", [cell]))
    ((string,),) = successful_strings(run.cells).values()
    return string.shown


def test_the_string_stands_in_its_message_under_the_system_prompt(tmp_path: Path) -> None:
    found = shown(tmp_path, messages=TALK, more={"agreement": {"chat": CHAT}}, judge_output="refused: no")
    assert [(turn.role, turn.text, turn.string) for turn in found.turns] == [
        ("system", "Be kind.", None),
        ("user", "Look.", None),
        ("assistant", "look()", None),
        ("tool", "It says: ", "STRING"),
    ]
    assert (found.whole, found.drawn, found.clean) == (True, 0, "I will not.")
    (answer,) = found.answers
    assert (answer.text, answer.success, answer.judge_output) == ("Yes", True, "refused: no")


@pytest.mark.parametrize("system", ["none", "default"])
def test_a_conversation_without_a_system_prompt_shows_none(tmp_path: Path, system: str) -> None:
    chat = CHAT | {"system": system, "system_text": None}
    found = shown(tmp_path, messages=TALK, more={"agreement": {"chat": chat}})
    assert [turn.role for turn in found.turns] == ["user", "assistant", "tool"]


def test_a_system_prompt_of_the_task_comes_before_that_of_the_victim(tmp_path: Path) -> None:
    found = shown(tmp_path, messages=[("system", "Mine."), *TALK], more={"agreement": {"chat": CHAT}})
    assert [turn.text for turn in found.turns if turn.role == "system"] == ["Mine."]


def test_each_drawn_answer_has_its_state_and_verdict(tmp_path: Path) -> None:
    found = shown(tmp_path, messages=TALK, drawn=DRAWN, more={"answers": ANSWERS})
    assert [(answer.text, answer.state, answer.verdict) for answer in found.answers] == [
        ("Yes", "", "success of the attack, score 1.00"),
        (None, "blocked by a guard", "no success, score 0.00"),
        (None, "cut off before it began", "not judged"),
        ("I will not.", "refused by the server", "no success, score 0.00"),
    ]
    assert (found.drawn, found.broken) == (4, 1)


def test_many_answers_are_counted_and_some_are_shown(tmp_path: Path) -> None:
    more = {"answers": ANSWERS | {"samples": 30}}
    found = shown(tmp_path, messages=TALK, drawn=[("Yes", "answered", True)] * 30, more=more)
    assert (found.drawn, found.broken, len(found.answers)) == (30, 30, MAX_ANSWERS)


def test_records_without_messages_show_the_string_alone(tmp_path: Path) -> None:
    found = shown(tmp_path, more={"agreement": {"chat": CHAT}})
    assert [(turn.role, turn.text, turn.string) for turn in found.turns] == [("attack string", "STRING", None)]
    assert not found.whole


def test_of_labels_the_one_that_is_said(tmp_path: Path) -> None:
    cell = FakeCell(examples=1, steps=1, first_success=[1], messages=TALK, labels=(" ham", " spam"))
    ((string,),) = successful_strings(read_run(write_run(tmp_path / "run", [cell])).cells).values()
    assert string.shown.clean == " ham"
    assert string.shown.answers[0].success


def test_long_messages_keep_both_ends(tmp_path: Path) -> None:
    text = f"A{'x' * 2 * MAX_CHARACTERS}Z"
    turn = shown(tmp_path, messages=[("user", text)]).turns[-1]
    assert (turn.text[0], turn.text[-1], turn.string) == ("A", "Z", "STRING")
    assert f"({MAX_CHARACTERS + 2} more characters)" in turn.text


@pytest.mark.parametrize("chat", [None, "x", {}, {"template": 1}, [1]])
def test_settings_of_another_form_are_none(tmp_path: Path, chat: object) -> None:
    run = read_run(write_run(tmp_path / "run", [FakeCell(more={"agreement": {"chat": chat}})]))
    assert chat_settings(run.cells[0].record) is None


def test_settings_in_a_line(tmp_path: Path) -> None:
    chat = CHAT | {"system": "Be\nkind.", "around": ["<user>", 1], "reasoning": ["<t>", "</t>"], "date": "2024-07-26"}
    run = read_run(write_run(tmp_path / "run", [FakeCell(more={"agreement": {"chat": chat}})]))
    settings = chat_settings(run.cells[0].record)
    assert settings is not None
    assert settings.around is None
    assert settings.comment == (
        'chat template abc, system "Be\\nkind.", prefill "Sure", template_arguments {"a": 1}, '
        'reasoning ["<t>", "</t>"], date 2024-07-26'
    )
