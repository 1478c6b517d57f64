"""Multiple choice: a local table or a hub dataset of questions, each with choices of which one is right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from string import ascii_uppercase
from typing import Any, Self

from pydantic import Field, model_validator

from harness import DataError, Example, Task, hookimpl
from plugins.tasks._bases.labelled_text_task import LabelledText, LabelledTextTask
from plugins.tasks._bases.text_task import preset_field
from plugins.tasks._data.records import Column, Record, canonical_value, check_columns
from plugins.tasks._data.splits import Split


@dataclass(frozen=True)
class Question(LabelledText):
    """A question with its choices, the index of the right one, and its subject where the table tells one."""

    subject: str | None = None


def _subject(row: LabelledText) -> str | None:
    return row.subject if isinstance(row, Question) else None


class MultipleChoice(LabelledTextTask):
    """Questions with choices; the answer is a letter. A language model (`head: causal_lm`, `fine_tune: false`) says the
    letter that it finds likeliest.

    It is a measure of what a model can do besides what breaks it: nothing is attacked, the clean accuracy is the
    result. With `attackable: true` attack text is added to the question, and the attacker wants the next letter, or
    what ``goal`` says.
    """

    name = "multiple_choice"
    needs_training = False
    every_label = False  # five questions need not have every letter for an answer

    class Params(LabelledTextTask.Params):
        """Source, columns, prompt."""

        validation_fraction: float = Field(
            1.0, gt=0, le=1, description="share cut off for validation if no split is given; 1: no training examples"
        )
        question_column: Column = Field(
            "question", description="name, or number from 0 where the file names no columns"
        )
        choices_column: Column = Field("choices", description="a list of the choices, if `choice_columns` is not given")
        choice_columns: tuple[Column, ...] | None = Field(None, description="a column for each choice, in order")
        answer_column: Column = Field("answer", description="the right one: its letter, number from 0, or text")
        shots: int = Field(
            0,
            ge=0,
            description="how many training questions, in file order, come with answers before each question",
        )
        subject_column: Column | None = Field(
            None, description="column with a subject: the questions before one are of its subject"
        )
        choices: int = Field(4, ge=2, le=26, description="how many choices each question has")
        attackable: bool = Field(False, description="whether questions are attacked, or only answered")
        instructions: str | None = preset_field(
            LabelledTextTask.Params, "instructions", "Answer the question with the letter of the right choice."
        )
        answer_prompt: str = preset_field(LabelledTextTask.Params, "answer_prompt", "\nAnswer:")

        @model_validator(mode="after")
        def _as_many_columns(self) -> Self:
            columns = self.choice_columns
            if columns is not None and len(columns) != self.choices:
                raise ValueError(f"`choice_columns` names {len(columns)} columns, and `choices` is {self.choices}")
            check_columns(self.header, (self.question_column, self.answer_column), "question_column: 0")
            return self

    def label_texts(self) -> tuple[str, ...]:
        """A, B, C, …"""
        return tuple(ascii_uppercase[: self.params.choices])

    def row(self, record: Record, number: int) -> LabelledText:
        """The question with its choices below, each after its letter, and the index of the right one."""
        p = self.params
        choices = self._choices(record)
        answer = record[p.answer_column]
        label = self._index(answer, choices)
        if label is None:
            raise DataError(
                f"{record.where}: column {p.answer_column!r} holds {answer!r}, which names no choice or two: write a "
                f"letter up to {self.label_texts()[-1]}, a number from 0 to {p.choices - 1}, or the text of a choice"
            )
        lines = [f"{letter}. {choice}" for letter, choice in zip(self.label_texts(), choices, strict=True)]
        question = record.text(p.question_column, "question_column").strip()
        named = p.subject_column if p.shots else None
        subject = None if named is None else record.text(named, "subject_column")
        return Question("\n".join([question, *lines]) if question else "", label, subject=subject)

    def shown_with(self, rows: list[LabelledText], train: list[LabelledText]) -> list[LabelledText]:
        """Each after ``shots`` training questions, of its subject where there is one."""
        if not self.params.shots:
            return rows
        known: dict[str | None, list[str]] = {}
        for row in train:
            answer = f"{self.params.answer_prompt}{self.labels()[row.label]}"
            known.setdefault(_subject(row), []).append(f"{row.text}{answer}\n\n")
        shown = {subject: self._shots(subject, known) for subject in {_subject(row) for row in rows}}
        return [replace(row, before=shown[_subject(row)]) for row in rows]

    def _shots(self, subject: str | None, known: Mapping[str | None, list[str]]) -> str:
        there, wanted = known.get(subject, []), self.params.shots
        if len(there) < wanted:
            of = "" if subject is None else f" of subject {subject!r}"
            raise DataError(
                f"{self.name}: shots is {wanted}, and there are {len(there)} training questions{of}; lower shots, or "
                "give `path: {train: FILE, validation: FILE}`, a `train_split`, or a `validation_fraction` below 1"
            )
        return "".join(there[:wanted])

    def examples(self, split: Split, rows: list[LabelledText]) -> list[Example]:
        """Those of a labelled text, marked as not to be attacked unless they are."""
        found = super().examples(split, rows)
        return found if self.params.attackable else [replace(one, attackable=False) for one in found]

    def _choices(self, record: Record) -> list[str]:
        p = self.params
        if p.choice_columns is not None:
            found: Any = [record[column] for column in p.choice_columns]
        else:
            found = record[p.choices_column]
        if not isinstance(found, list) or len(found) != p.choices:
            told = f"{len(found)} choices" if isinstance(found, list) else f"{type(found).__name__}, not a list"
            raise DataError(
                f"{record.where}: has {told} where {p.choices} are expected; give `choices`, or `choice_columns`, or "
                "leave the row out"
            )
        return [canonical_value(choice).strip() for choice in found]

    def _index(self, answer: Any, choices: list[str]) -> int | None:
        """Of the right choice; None where the answer names none, or one by its letter and another by its text."""
        if isinstance(answer, int) and not isinstance(answer, bool):
            return answer if 0 <= answer < len(choices) else None
        said, letters = canonical_value(answer).strip(), self.label_texts()
        found = {letters.index(said.upper())} if said.upper() in letters else set()
        found |= {int(said)} & set(range(len(choices))) if said.isdecimal() else set()
        found |= {choices.index(said)} if choices.count(said) == 1 else set()
        return found.pop() if len(found) == 1 else None


@hookimpl
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    """Register MultipleChoice."""
    register(MultipleChoice)
