"""Helpful: which of two assistants helps more?"""

from __future__ import annotations

from collections.abc import Callable

from harness import Task, hookimpl
from plugins.tasks._bases.preference_task import PreferenceTask
from plugins.tasks._bases.text_task import Extent, preset_field


class Helpful(PreferenceTask):
    """Say in which of two conversations the assistant helps more (hub: Anthropic/hh-rlhf, helpful-base)."""

    name = "helpful"

    files = "helpful-base/train.jsonl.gz, helpful-base/test.jsonl.gz"
    extent = Extent(43_835, 2_354, 950, "as long as those of harmless, which is a guess")

    class Params(PreferenceTask.Params):
        """Source, columns, prompt."""

        data_dir: str | None = preset_field(PreferenceTask.Params, "data_dir", "helpful-base")
        instructions: str | None = preset_field(
            PreferenceTask.Params,
            "instructions",
            "Below are two conversations between a human and an assistant. Answer FIRST if the assistant "
            "is more helpful in the first one, and SECOND if it is more helpful in the second one.",
        )


@hookimpl
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    """Register Helpful."""
    register(Helpful)
