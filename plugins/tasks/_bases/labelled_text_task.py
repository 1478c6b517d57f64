"""Base of tasks on labelled text from files or the hub."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import Field

from harness import NO_LABEL, Chunk, DataError, Edit, Example, did_you_mean
from plugins.tasks._bases.prompts import ANSWER_PROMPT, instructions_block
from plugins.tasks._bases.text_task import TextTask
from plugins.tasks._data.duplicates import Claim
from plugins.tasks._data.splits import Split, example_id


@dataclass(frozen=True)
class LabelledText:
    """A text and the index of its label.

    Attributes:
        before: what the prompt shows between the instructions and the text.
    """

    text: str
    label: int
    before: str = field(default="", kw_only=True)


class LabelledTextTask(TextTask[LabelledText]):
    """Base of tasks on labelled text. Chunks: instructions, the text (attack text is added to it), the answer prompt.

    A subclass gives the text and label of a record in `row`. The attacker wants what the parameter ``goal`` says.

    Attributes:
        every_label: whether a split must have rows of every label.
    """

    every_label: ClassVar[bool] = True

    class Params(TextTask.Params):
        """Where the text comes from, how it is split, and the prompt around it."""

        instructions: str | None = Field(
            None, description="first chunk, with a blank line after it; null: made from the labels"
        )
        answer_prompt: str = Field(ANSWER_PROMPT, description="last chunk")
        goal: str = Field(
            "next",
            description="what the attacker wants the victim to answer: the `next` label after the true one, `any` "
            "label but the true one, or one label by its text (texts that have it are not attacked)",
        )

    @abstractmethod
    def label_texts(self) -> Sequence[str]:
        """Labels in index order, without the leading space."""

    def labels(self) -> tuple[str, ...]:
        return tuple(f" {text}" for text in self.label_texts())

    def made_up_row(self, text: str, number: int) -> LabelledText:
        return LabelledText(text, number % len(self.label_texts()))

    def claim(self, row: LabelledText) -> Claim:
        """That the text has the label."""
        return Claim(row.text, row.label)

    def examples(self, split: Split, rows: list[LabelledText]) -> list[Example]:
        names = self.label_texts()
        for label, name in enumerate(names if self.every_label else ()):
            if all(row.label != label for row in rows):
                raise DataError(
                    f"{self.name}: none of the {len(rows)} {split} rows is labelled {name!r}; "
                    f"raise {split}_size, max_chars or the share of this split, or check `labels`"
                )
        own = self.params.instructions
        instructions = instructions_block(_default_instructions(names) if own is None else own)
        answer = Chunk(self.params.answer_prompt)
        wanted = [self._wanted(label, names) for label in range(len(names))]
        return [
            Example(
                id=example_id(split, i),
                chunks=(Chunk(instructions + row.before), Chunk(row.text, Edit.PERTURBABLE), answer),
                label=row.label,
                proxy_label=NO_LABEL if wanted[row.label] == row.label else wanted[row.label],
                attackable=wanted[row.label] != row.label,
            )
            for i, row in enumerate(rows)
        ]

    def _wanted(self, label: int, names: Sequence[str]) -> int:
        """Index of the label that the attacker wants where ``label`` is the true one; `NO_LABEL`: any other."""
        goal = self.params.goal.strip()
        if goal in ("next", "any"):
            return (label + 1) % len(names) if goal == "next" else NO_LABEL
        if goal not in names:
            known = f"write next, any, or a label: {', '.join(names)}"
            raise DataError(f"{self.name}: goal {goal!r} is not a label{did_you_mean(goal, names)}; {known}")
        return list(names).index(goal)


def _default_instructions(names: Sequence[str]) -> str:
    return f"Decide which label fits the text below. Answer with one word: {', '.join(names[:-1])} or {names[-1]}."
