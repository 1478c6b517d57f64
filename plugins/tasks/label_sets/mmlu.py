"""MMLU: multiple-choice questions from 57 subjects, as a measure of what a model can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from harness import Task, hookimpl
from plugins.tasks._bases.text_task import preset_field
from plugins.tasks._data.records import Column
from plugins.tasks.multiple_choice import MultipleChoice


class MMLU(MultipleChoice):
    """Questions of MMLU (hub: cais/mmlu); `config: SUBJECT` asks one subject alone.

    Validation is the set's `test` split, training its `dev` split of five questions a subject. `shots: 5` shows those
    of the subject before each question, as the paper does; by default none.
    """

    name = "mmlu"
    paper = "Hendrycks et al. 2021, Measuring Massive Multitask Language Understanding, ICLR, arXiv:2009.03300"
    license = "MIT"
    files = "README.md, all/test-00000-of-00001.parquet, all/dev-00000-of-00001.parquet"

    class Params(MultipleChoice.Params):
        """Source, columns, prompt."""

        dataset: str | None = preset_field(MultipleChoice.Params, "dataset", "cais/mmlu")
        revision: str | None = preset_field(
            MultipleChoice.Params, "revision", "c30699e8356da336a370243923dbaf21066bb9fe"
        )
        config: str | None = preset_field(MultipleChoice.Params, "config", "all")
        train_split: str = preset_field(MultipleChoice.Params, "train_split", "dev")
        validation_split: str | None = preset_field(MultipleChoice.Params, "validation_split", "test")
        subject_column: Column | None = preset_field(MultipleChoice.Params, "subject_column", "subject")
        contradictions: Literal["error", "drop"] = preset_field(MultipleChoice.Params, "contradictions", "drop")


@hookimpl
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    """Register MMLU."""
    register(MMLU)
