"""Base of prompt sets in the layout of the study (arXiv 2407.18213): a prompt is a list of chunks."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from plugins.tasks._bases.generation_task import GenerationTask, PromptRow
from plugins.tasks._data.records import Column, Record

STUDY_COLUMN = "content"
"""Of the study's datasets: a list of chunks, here of one."""


class StudyPrompts(GenerationTask):
    """Base of forbidden prompts that stand in the study's column, or in the one in which they were published first.

    Attributes:
        published_column: of the table that the authors published.
    """

    published_column: ClassVar[str]

    class Params(GenerationTask.Params):
        """Source, column, prompt, target."""

        prompt_column: Column | None = Field(
            None, description=f"by default the study's `{STUDY_COLUMN}`, else the column of the published table"
        )
        answer_prompt: str = Field("", description="last chunk, as it is")

    def row(self, record: Record, number: int) -> PromptRow:
        """The prompt, in the study's layout or the published one."""
        column = self.params.prompt_column
        if column is None:
            column = STUDY_COLUMN if STUDY_COLUMN in record.values else self.published_column
        pieces = record[column]
        if isinstance(pieces, list) and all(isinstance(piece, str) for piece in pieces):
            return PromptRow("".join(pieces))
        return PromptRow(record.text(column, "prompt_column"))
