"""Base of tasks on labelled text from files or the hub."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field

from harness import Chunk, DataError, Edit, Example
from plugins.tasks._bases.prompts import ANSWER_PROMPT, instructions_block
from plugins.tasks._bases.text_task import TextTask
from plugins.tasks._data.duplicates import Claim
from plugins.tasks._data.splits import Split, example_id


@dataclass(frozen=True)
class LabelledText:
    """A text and the index of its label."""

    text: str
    label: int


class LabelledTextTask(TextTask[LabelledText]):
    """Base of tasks on labelled text. Chunks: instructions, the text (attack text is added to it), the answer prompt.

    A subclass gives the text and label of a record in `row`. With more than two labels the attacker wants the next
    one: ``proxy_label = (label + 1) % n``.

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
        instructions = Chunk(instructions_block(_default_instructions(names) if own is None else own))
        answer = Chunk(self.params.answer_prompt)
        return [
            Example(
                id=example_id(split, i),
                chunks=(instructions, Chunk(row.text, Edit.PERTURBABLE), answer),
                label=row.label,
                proxy_label=(row.label + 1) % len(names),
            )
            for i, row in enumerate(rows)
        ]


def _default_instructions(names: Sequence[str]) -> str:
    return f"Decide which label fits the text below. Answer with one word: {', '.join(names[:-1])} or {names[-1]}."
