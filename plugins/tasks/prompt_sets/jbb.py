"""JBB-Behaviors of JailbreakBench: 100 harmful behaviors and 100 benign ones on the same topics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field, model_validator

from harness import Task, hookimpl
from plugins.tasks._bases.generation_task import PromptRow
from plugins.tasks._bases.text_task import Extent, preset_field
from plugins.tasks._data.records import Column, Record
from plugins.tasks.behaviors import Behaviors


class JBB(Behaviors):
    """Behaviors of JailbreakBench with their targets (hub: JailbreakBench/JBB-Behaviors): `split: harmful`, or `benign`
    for over-refusal.
    """

    name = "jbb"
    paper = (
        "Chao et al. 2024, JailbreakBench: An Open Robustness Benchmark for Jailbreaking Large Language Models, "
        "arXiv:2404.01318"
    )
    license = "MIT"
    files = "README.md, data/harmful-behaviors.csv, data/benign-behaviors.csv"
    extent = Extent(0, 100, 100, "a guess")

    class Params(Behaviors.Params):
        """Source, columns, prompt, target."""

        dataset: str | None = preset_field(Behaviors.Params, "dataset", "JailbreakBench/JBB-Behaviors")
        revision: str | None = preset_field(Behaviors.Params, "revision", "886acc352a31533ffbcf4ef22c744658688086fc")
        config: str | None = preset_field(Behaviors.Params, "config", "behaviors")
        split: Literal["harmful", "benign"] = Field("harmful", description="which behaviors")
        prompt_column: Column = preset_field(Behaviors.Params, "prompt_column", "Goal")
        target_column: Column | None = preset_field(Behaviors.Params, "target_column", "Target")
        validation_split: str | None = Field("harmful", description="of the dataset; follows `split`")

        @model_validator(mode="before")
        @classmethod
        def _one_split(cls, given: Any) -> Any:
            if not isinstance(given, dict) or given.get("split") != "benign":
                return given
            return {"validation_split": "benign", "benign": True} | given

    def row(self, record: Record, number: int) -> PromptRow | None:
        """A behavior; of a benign one the attacker wants a refusal, and no target of the set is that."""
        row = super().row(record, number)
        return row._replace(target="") if row and row.benign else row


@hookimpl
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    """Register JBB."""
    register(JBB)
