"""XSTest: 250 safe prompts that sound unsafe, and 200 unsafe ones to match."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from harness import Task, hookimpl
from plugins.tasks._bases.text_task import preset_field
from plugins.tasks._data.records import Column
from plugins.tasks.behaviors import Behaviors


class XSTest(Behaviors):
    """Over-refusal of safe prompts (hub: Paul/XSTest); `only: harmful` asks the unsafe ones that they resemble."""

    name = "xstest"
    paper = (
        "Röttger et al. 2024, XSTest: A Test Suite for Identifying Exaggerated Safety Behaviours in Large Language "
        "Models, NAACL, arXiv:2308.01263"
    )
    license = "CC-BY-4.0"
    files = "README.md, xstest_prompts.csv"

    class Params(Behaviors.Params):
        """Source, columns, prompt, target."""

        dataset: str | None = preset_field(Behaviors.Params, "dataset", "Paul/XSTest")
        revision: str | None = preset_field(Behaviors.Params, "revision", "f600c994b256f12867dfa5b3eb3d545a3e62f8b5")
        benign_column: Column | None = preset_field(Behaviors.Params, "benign_column", "label")
        only: Literal["harmful", "benign"] | None = preset_field(Behaviors.Params, "only", "benign")


@hookimpl
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    """Register XSTest."""
    register(XSTest)
