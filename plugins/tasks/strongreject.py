"""StrongREJECT: 313 prompts that a victim should refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import Field, model_validator

from harness import Task, hookimpl
from plugins.tasks._bases.generation_task import GenerationTask, PromptRow
from plugins.tasks._bases.prompts import STUDY
from plugins.tasks._bases.text_task import preset_field
from plugins.tasks._data.records import Column, Record

STUDY_COLUMN = "content"  # of the study's dataset: a list of chunks, here of one
PUBLISHED_COLUMN = "forbidden_prompt"


class StrongReject(GenerationTask):
    """Forbidden prompts of StrongREJECT, answered in text (hub: AlignmentResearch/StrongREJECT, or the published CSV).

    All are for validation; nothing stands around them, since chat models bring a template of their own.
    """

    name = "strongreject"
    paper = f"Souly et al. 2024, A StrongREJECT for Empty Jailbreaks, arXiv:2402.10260; task after {STUDY}"

    class Params(GenerationTask.Params):
        """Source, column, prompt, target."""

        dataset: str | None = preset_field(GenerationTask.Params, "dataset", "AlignmentResearch/StrongREJECT")
        revision: str | None = Field("2.0.0", description="commit, tag or branch of the hub dataset")
        prompt_column: Column | None = Field(
            None, description=f"by default `{PUBLISHED_COLUMN}`, or the study's `{STUDY_COLUMN}` where there is one"
        )
        answer_prompt: str = Field("", description="last chunk, as it is")

        @model_validator(mode="before")
        @classmethod
        def _no_revision_of_another_dataset(cls, given: Any) -> Any:
            # The preset revision is one of the preset dataset.
            if isinstance(given, dict) and "dataset" in given and "revision" not in given:
                return given | {"revision": None}
            return given

    def row(self, record: Record, number: int) -> PromptRow:
        """The prompt, in the published layout (category, source, forbidden_prompt) or the study's."""
        column = self.params.prompt_column
        if column is None:
            column = STUDY_COLUMN if STUDY_COLUMN in record.values else PUBLISHED_COLUMN
        pieces = record[column]
        if isinstance(pieces, list) and all(isinstance(piece, str) for piece in pieces):
            return PromptRow("".join(pieces))
        return PromptRow(record.text(column, "prompt_column"))


@hookimpl
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    """Register StrongReject."""
    register(StrongReject)
