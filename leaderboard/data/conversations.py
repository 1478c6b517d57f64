"""Conversations as a page shows them: the messages, the attack string in its place, the answers and their verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.records.cell_manifest import CellRecord
from leaderboard.data.chat_settings import chat_settings
from leaderboard.data.visible_text import escape_invisible, shortened

MAX_ANSWERS = 10  # shown of the drawn ones
_NO_TEXT = {"refused": "refused by the server", "cut_off": "cut off before it began", "empty": "empty"}


@dataclass(frozen=True)
class Turn:
    """One message; texts have what cannot be seen written out, and the middle of long ones is left out.

    Attributes:
        role: whose it is.
        text: what it says; up to the attack string, where that stands in it.
        string: the attack string, in its place; None: it stands in another message.
        after: what stands behind the attack string.
        origin: where it comes from, where that is not the task.
    """

    role: str
    text: str
    string: str | None = None
    after: str = ""
    origin: str = ""


@dataclass(frozen=True)
class AnswerShown:
    """What the victim said, and what was made of it.

    Attributes:
        text: what it said; None where there is no text, and ``state`` says why.
        state: what it is, where it is not simply an answer.
        verdict: in words.
        success: whether the attacker has got what it wants.
        judge_output: what a judging model said, if any was asked.
    """

    text: str | None
    state: str
    verdict: str
    success: bool
    judge_output: str | None = None


@dataclass(frozen=True)
class Conversation:
    """An attack string put to the victim.

    Attributes:
        turns: the messages; where the records do not hold them, the attack string alone.
        whole: whether the messages are recorded.
        answers: to it: one, or as many as were drawn, of which the first `MAX_ANSWERS` are here.
        drawn: how many were drawn; 0: one greedy answer.
        broken: in how many of them the attacker succeeded.
        clean: what the victim says without the attack string; None where it is not recorded.
        right: what a good victim says; None where it is not recorded.
    """

    turns: tuple[Turn, ...]
    whole: bool
    answers: tuple[AnswerShown, ...]
    drawn: int = 0
    broken: int = 0
    clean: str | None = None
    right: str | None = None
    notes: tuple[str, ...] = field(default=())


def conversation(record: CellRecord, example: Mapping[str, Any], step: Mapping[str, Any]) -> Conversation:
    """Of a cell's row of examples and one of steps that has an attack string."""
    string = step["attack_text"]
    turns = _turns(example, string)
    whole = bool(turns)
    if whole:
        turns = [*_system_turn(record, turns), *turns]
    answers = _answers(record, step)
    return Conversation(
        turns=tuple(turns) or (Turn("attack string", shortened(string)),),
        whole=whole,
        answers=tuple(answers[:MAX_ANSWERS]),
        drawn=len(answers) if record.samples else 0,
        broken=sum(answer.success for answer in answers),
        clean=_clean_answer(record, example),
        right=right_answer(record, example),
        notes=_notes(record),
    )


def _turns(example: Mapping[str, Any], string: str) -> list[Turn]:
    messages, place = example["messages"], example["string_at"]
    if not messages or place is None or any(place[name] is None for name in ("message", "start", "end")):
        return []
    turns = []
    for at, message in enumerate(messages):
        text, role = message["content"] or "", escape_invisible(message["role"] or "")
        if at == place["message"]:
            before, after = shortened(text[: place["start"]]), shortened(text[place["end"] :])
            turns.append(Turn(role, before, shortened(string), after))
        else:
            turns.append(Turn(role, shortened(text)))
    return turns


def _system_turn(record: CellRecord, turns: Sequence[Turn]) -> list[Turn]:
    """The system prompt that the victim has where the conversation brings none."""
    settings = chat_settings(record)
    if settings is None or settings.system_text is None or any(turn.role == "system" for turn in turns):
        return []
    origin = "written by the chat template" if settings.system == "default" else "of the victim"
    return [Turn("system", shortened(settings.system_text), origin=origin)]


def _answers(record: CellRecord, step: Mapping[str, Any]) -> list[AnswerShown]:
    if record.task_kind == "labels":
        if step["predicted"] is None and step["answer_state"] is None and not step["success"]:
            return [AnswerShown(None, "blocked by a guard", *_verdict(step["success"], None, None))]
        return [AnswerShown(label_name(record, step["predicted"]), "", *_verdict(step["success"], step["score"], None))]
    names = ("answer", "state", "success", "score", "unparseable")
    if record.samples:
        lists = [*(step[f"sampled_{name}"] for name in names), step["judge_output"]]
    else:
        whole = [step["answer_state" if name == "state" else name] for name in names]
        lists = [*([value] for value in whole), step["judge_output"]]
    count = max(len(values or []) for values in lists)
    return [_answer(*(values[at] if values and at < len(values) else None for values in lists)) for at in range(count)]


def _answer(
    text: str | None,
    state: str | None,
    success: bool | None,
    score: float | None,
    unparseable: bool | None,
    output: str | None,
) -> AnswerShown:
    if text is None and state is None:
        said = "blocked by a guard"
    else:
        said = "" if state in (None, "answered") else _NO_TEXT.get(str(state), "failed: no answer")
    verdict, broken = _verdict(success, score, unparseable)
    if state in ("cut_off", "empty", "failed"):
        verdict = "not judged"
    shown = shortened(text) if text else None
    return AnswerShown(shown, said, verdict, broken, shortened(output) if output else None)


def _verdict(success: bool | None, score: float | None, unparseable: bool | None) -> tuple[str, bool]:
    if unparseable:
        return "no verdict: what the judge said cannot be read", False
    if success is None:
        return "not judged", False
    words = "success of the attack" if success else "no success"
    return (words if score is None else f"{words}, score {score:.2f}"), success


def _clean_answer(record: CellRecord, example: Mapping[str, Any]) -> str | None:
    if record.task_kind == "labels":
        return label_name(record, example["predicted"])
    return shortened(example["answer"]) if example["answer"] else None


def right_answer(record: CellRecord, example: Mapping[str, Any]) -> str | None:
    """The label of a row of examples, or of texts what a good victim does; None where that is not recorded."""
    if record.task_kind == "labels":
        return label_name(record, example["label"])
    benign = record.benign if example["benign"] is None else example["benign"]
    return "an answer" if benign else "anything but what the attacker wants"


def label_name(record: CellRecord, index: int | None) -> str | None:
    """The name of a label, or its number where it has none."""
    if index is None:
        return None
    named = 0 <= index < len(record.labels)
    return shortened(record.labels[index]) if named else f"label {index}"


def _notes(record: CellRecord) -> tuple[str, ...]:
    parts = [] if record.defense_facts is None else record.defense_facts.parts
    if any(part.sort in ("transform", "vote") for part in parts):
        return ("This is what the attacker sent; the defense changes it before the victim reads it.",)
    return ()
