"""AdvBench: 520 harmful instructions, each with the beginning of an answer to it."""

from __future__ import annotations

from collections.abc import Callable

from harness import Task, hookimpl
from plugins.tasks._bases.text_task import preset_field
from plugins.tasks.behaviors import Behaviors


class AdvBench(Behaviors):
    """Harmful instructions with their own targets (hub: walledai/AdvBench; of the authors' CSV give `prompt_column:
    goal`).
    """

    name = "advbench"
    paper = (
        "Zou et al. 2023, Universal and Transferable Adversarial Attacks on Aligned Language Models, arXiv:2307.15043"
    )
    license = "MIT"
    files = "README.md, data/train-00000-of-00001.parquet"

    class Params(Behaviors.Params):
        """Source, columns, prompt, target."""

        dataset: str | None = preset_field(Behaviors.Params, "dataset", "walledai/AdvBench")
        revision: str | None = preset_field(Behaviors.Params, "revision", "9d4730540082fa4017450b65ca1c0e1d8d30446e")


@hookimpl
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    """Register AdvBench."""
    register(AdvBench)
