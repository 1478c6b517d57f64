"""What all tasks on labelled text share: rows become examples, with a question before and an answer prompt after."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from pydantic import Field

from harness import Chunk, DataError, Edit, Example, TaskData
from plugins.tasks._bases.prompts import ANSWER_PROMPT, lead
from plugins.tasks._data.records import Record
from plugins.tasks._data.text_task import TextTask
from plugins.tasks._words.pseudo_words import Split


class Row(NamedTuple):
    """A text and the index of its label."""

    text: str
    label: int


class CorpusTask(TextTask):
    """Base of tasks on labelled text. Chunks: instructions, the text (attack text is added to it), the answer prompt.

    A subclass says in `row` what a record's text and label are. With more than two labels the attacker wants the next
    one: ``proxy_label = (label + 1) % n``.
    """

    class Params(TextTask.Params):
        """Where the text comes from, how it is split, and the prompt around it."""

        instructions: str | None = Field(
            None, description="first chunk, with a blank line after it; by default made from the labels"
        )
        answer_prompt: str = Field(ANSWER_PROMPT, description="last chunk")

    @abstractmethod
    def label_texts(self) -> Sequence[str]:
        """Labels in index order, without the leading space."""

    @abstractmethod
    def row(self, record: Record, number: int) -> tuple[str, int]:
        """Text and label index of a record; ``number`` counts the rows of its file from 0.

        Raises:
            DataError: a column is missing or a value is not of the stated form.
        """

    def load(self) -> TaskData:
        """Read, split, cap.

        Raises:
            DataError: a file, split, column or value is missing or malformed; names it, and the mend.
        """
        found = self.found(lambda record, number: Row(*self.row(record, number)))
        return TaskData(
            labels=tuple(f" {text}" for text in self.label_texts()),
            train=self._examples("train", self.chosen(found.train, "train")),
            validation=self._examples("validation", self.chosen(found.validation, "validation")),
            source=found.source,
        )

    def _examples(self, split: Split, rows: list[Row]) -> list[Example]:
        names = self.label_texts()
        for label, name in enumerate(names):
            if all(row.label != label for row in rows):
                raise DataError(
                    f"{self.name}: none of the {len(rows)} {split} rows is labelled {name!r}; "
                    f"raise {split}_size, max_chars or the share of this split, or check `labels`"
                )
        asked = self.params.instructions
        instructions = Chunk(lead(_question(names) if asked is None else asked))
        answer = Chunk(self.params.answer_prompt)
        return [
            Example(
                id=f"{split}-{i:05d}",
                chunks=(instructions, Chunk(row.text, Edit.PERTURBABLE), answer),
                label=row.label,
                proxy_label=(row.label + 1) % len(names),
            )
            for i, row in enumerate(rows)
        ]


def _question(names: Sequence[str]) -> str:
    return f"Decide which label fits the text below. Answer with one word: {', '.join(names[:-1])} or {names[-1]}."
