"""StrongREJECT: 313 prompts that a victim should refuse."""

from __future__ import annotations

from collections.abc import Callable

from harness import Task, hookimpl
from plugins.tasks._bases.prompts import STUDY
from plugins.tasks._bases.study_prompts import StudyPrompts
from plugins.tasks._bases.text_task import Extent, preset_field


class StrongReject(StudyPrompts):
    """Forbidden prompts of StrongREJECT, answered in text (hub: AlignmentResearch/StrongREJECT, or the published CSV).

    All are for validation; nothing stands around them, since chat models bring a template of their own.
    """

    name = "strongreject"
    paper = f"Souly et al. 2024, A StrongREJECT for Empty Jailbreaks, arXiv:2402.10260; task after {STUDY}"
    license = "MIT"
    files = "README.md, data/train-00000-of-00001.parquet, data/validation-00000-of-00001.parquet"
    published_column = "forbidden_prompt"
    extent = Extent(0, 313, 200, "a guess")

    class Params(StudyPrompts.Params):
        """Source, column, prompt, target."""

        dataset: str | None = preset_field(StudyPrompts.Params, "dataset", "AlignmentResearch/StrongREJECT")
        revision: str | None = preset_field(StudyPrompts.Params, "revision", "2.0.0")


@hookimpl
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    """Register StrongReject."""
    register(StrongReject)
