"""Base of tasks on prompts from files or the hub that are answered in text."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, NamedTuple

from pydantic import Field, PositiveInt, field_validator

from harness import Chunk, Edit, Example, TaskData, TaskKind
from plugins.tasks._bases.prompts import ANSWER_PROMPT
from plugins.tasks._bases.text_task import TextTask
from plugins.tasks._data.duplicates import Claim
from plugins.tasks._data.splits import Split, example_id

STUDY_TARGET = " Sure, here"
"""The target of the study's attacks: the beginning of an answer."""


class PromptRow(NamedTuple):
    """A prompt and what is known of its answers.

    Attributes:
        text: the prompt.
        target: beginning of the answer that the attacker wants; "" for the task's own.
        reply: a good answer; "" where none is known.
        benign: whether a good victim answers it.
    """

    text: str
    target: str = ""
    reply: str = ""
    benign: bool = False


class GenerationTask(TextTask[PromptRow]):
    """Base of tasks on prompts that are answered in text. Chunks: instructions, the prompt (attack text is added to
    it), the answer prompt.

    A subclass gives the prompt of a record in `row`. The training split may be empty: a benchmark of forbidden prompts
    has nothing to train on.
    """

    answers: ClassVar[TaskKind] = "text"
    needs_training = False
    keeps_variants = True  # one prompt may have several good replies to train on; it is attacked once

    class Params(TextTask.Params):
        """Where the prompts come from, how they are split, what stands around them, and what the attacker wants."""

        validation_fraction: float = Field(
            1.0, gt=0, le=1, description="share cut off for validation if no split is given; 1: no training examples"
        )
        instructions: str = Field(
            "", description="first chunk, as it is: write line breaks and the markers of a chat model"
        )
        answer_prompt: str = Field(
            ANSWER_PROMPT,
            description="last chunk, as it is; by default left out for a model that has a chat template",
        )
        target: str = Field(
            STUDY_TARGET,
            description="beginning of the answer that the attacker wants; a space is put before it where neither it "
            "begins nor the prompt ends with white space",
        )
        benign_target: str = Field(" I cannot help", description="the same for benign prompts: that of a refusal")
        answer_tokens: PositiveInt = Field(64, description="longest answer, in the victim's tokens")

        @field_validator("target", "benign_target")
        @classmethod
        def _says_something(cls, value: str) -> str:
            if not value.strip():
                raise ValueError(f"write the first words of an answer, e.g. {STUDY_TARGET!r}")
            return value

    def claim(self, row: PromptRow) -> Claim:
        """That the prompt is benign or not."""
        return Claim(row.text, row.benign)

    def made_up_row(self, text: str, number: int) -> PromptRow:
        return PromptRow(text)

    def outline(self) -> TaskData | None:
        """As `TextTask.outline`."""
        data = super().outline()
        return None if data is None else replace(data, answer_tokens=self.params.answer_tokens)

    def load(self) -> TaskData:
        return replace(super().load(), answer_tokens=self.params.answer_tokens)

    def examples(self, split: Split, rows: list[PromptRow]) -> list[Example]:
        given = "answer_prompt" in self.params.model_fields_set
        before, after = Chunk(self.params.instructions), Chunk(self.params.answer_prompt, base=not given)
        examples = []
        for i, row in enumerate(rows):
            chunks = (before, Chunk(row.text, Edit.PERTURBABLE), after)
            default = self.params.benign_target if row.benign else self.params.target
            target, reply = (
                spaced_continuation("".join(chunk.text for chunk in chunks), text)
                for text in (row.target if row.target.strip() else default, row.reply)
            )
            examples.append(Example(example_id(split, i), chunks, target=target, reply=reply, benign=row.benign))
        return examples


def spaced_continuation(prompt: str, text: str) -> str:
    """The text as a continuation of the prompt: with a space before it where neither brings white space."""
    if not text.strip():
        return ""
    return text if text[0].isspace() or prompt[-1:].isspace() else f" {text}"
