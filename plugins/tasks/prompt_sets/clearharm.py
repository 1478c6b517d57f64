"""ClearHarm: 179 prompts that are harmful without any doubt."""

from __future__ import annotations

from collections.abc import Callable

from harness import Task, hookimpl
from plugins.tasks._bases.study_prompts import StudyPrompts
from plugins.tasks._bases.text_task import preset_field


class ClearHarm(StudyPrompts):
    """Prompts of ClearHarm, answered in text (hub: AlignmentResearch/ClearHarm).

    All are for validation, though the dataset has them in its training split and leaves its other one empty.
    """

    name = "clearharm"
    paper = "Hollinsworth et al. 2025, ClearHarm: A more challenging jailbreak dataset, FAR.AI"
    license = "not stated"
    files = "README.md, data/train-00000-of-00001.parquet, data/validation-00000-of-00001.parquet"
    published_column = "content"

    class Params(StudyPrompts.Params):
        """Source, column, prompt, target."""

        dataset: str | None = preset_field(StudyPrompts.Params, "dataset", "AlignmentResearch/ClearHarm")
        revision: str | None = preset_field(StudyPrompts.Params, "revision", "79464fb6b3c2a8ee925184f394f9636600349f88")
        train_split: str = preset_field(StudyPrompts.Params, "train_split", "validation")
        validation_split: str | None = preset_field(StudyPrompts.Params, "validation_split", "train")


@hookimpl
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    """Register ClearHarm."""
    register(ClearHarm)
