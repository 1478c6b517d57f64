"""What all tasks answered in text share: rows become prompts, with a target and with a good reply where known."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, NamedTuple

from pydantic import Field, PositiveInt, field_validator

from harness import Chunk, Edit, Example, TaskData, TaskKind
from plugins.tasks._bases.prompts import ANSWER_PROMPT
from plugins.tasks._data.records import Record
from plugins.tasks._data.text_task import TextTask
from plugins.tasks._words.pseudo_words import Split

SURE = " Sure, here"
"""The beginning of an answer that the study has its attacks aim for."""


class Request(NamedTuple):
    """A prompt and what is known of its answers.

    Attributes:
        target: beginning of the answer that the attacker wants; "" for the task's own.
        reply: a good answer; "" where none is known.
        benign: whether a good victim answers it.
    """

    text: str
    target: str = ""
    reply: str = ""
    benign: bool = False


class AnsweredTask(TextTask):
    """Base of tasks on found prompts that are answered in text. Chunks: instructions, the prompt (attack text is added
    to it), the answer prompt.

    A subclass says in `request` what a record asks. The training split may be empty: a benchmark of forbidden prompts
    has nothing to learn from.
    """

    answers: ClassVar[TaskKind] = "text"
    needs_training = False

    class Params(TextTask.Params):
        """Where the prompts come from, how they are split, what stands around them, and what the attacker wants."""

        validation_fraction: float = Field(
            1.0, gt=0, le=1, description="share cut off for validation where no split is given; 1: no training examples"
        )
        instructions: str = Field(
            "", description="first chunk, as it is: write line breaks and the markers of a chat model"
        )
        answer_prompt: str = Field(ANSWER_PROMPT, description="last chunk, as it is")
        target: str = Field(
            SURE,
            description="beginning of the answer that the attacker wants; a space is put before it where neither it "
            "begins nor the prompt ends with white space",
        )
        benign_target: str = Field(" I cannot help", description="the same for benign prompts: that of a refusal")
        answer_tokens: PositiveInt = Field(64, description="longest answer, in the victim's tokens")

        @field_validator("target", "benign_target")
        @classmethod
        def _says_something(cls, value: str) -> str:
            if not value.strip():
                raise ValueError(f"write the first words of an answer, e.g. {SURE!r}")
            return value

    @abstractmethod
    def request(self, record: Record, number: int) -> Request:
        """What a record asks; ``number`` counts the rows of its file from 0.

        Raises:
            DataError: a column is missing or a value is not of the stated form.
        """

    def load(self) -> TaskData:
        """Read, split, cap.

        Raises:
            DataError: a file, split, column or value is missing or malformed; names it, and the mend.
        """
        found = self.found(self.request)
        return TaskData(
            labels=(),
            train=self._examples("train", self.chosen(self.wanted(found.train), "train")),
            validation=self._examples("validation", self.chosen(self.wanted(found.validation), "validation")),
            source=found.source,
            answer_tokens=self.params.answer_tokens,
        )

    def wanted(self, requests: list[Request]) -> list[Request]:
        """Those that the task is of; all by default."""
        return requests

    def _examples(self, split: Split, requests: list[Request]) -> list[Example]:
        before, after = Chunk(self.params.instructions), Chunk(self.params.answer_prompt)
        examples = []
        for i, request in enumerate(requests):
            chunks = (before, Chunk(request.text, Edit.PERTURBABLE), after)
            own = self.params.benign_target if request.benign else self.params.target
            target, reply = (
                continuation("".join(chunk.text for chunk in chunks), text)
                for text in (request.target if request.target.strip() else own, request.reply)
            )
            examples.append(Example(f"{split}-{i:05d}", chunks, target=target, reply=reply, benign=request.benign))
        return examples


def continuation(prompt: str, text: str) -> str:
    """The text as it goes on the prompt: with a space before it where there is no white space between the two."""
    if not text.strip():
        return ""
    return text if text[0].isspace() or prompt[-1:].isspace() else f" {text}"
