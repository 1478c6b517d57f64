"""HarmBench: harmful behaviors, plain, with a context, or about copyrighted text."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field

from harness import Task, hookimpl
from plugins.tasks._bases.generation_task import PromptRow
from plugins.tasks._bases.text_task import preset_field
from plugins.tasks._data.records import Column, Record
from plugins.tasks.behaviors import Behaviors

SEPARATOR = "\n\n---\n\n"
"""Between a context and the behavior that is about it, as HarmBench asks."""


class HarmBench(Behaviors):
    """Behaviors of HarmBench (hub: walledai/HarmBench): `config: standard` (200), `contextual` (100) or `copyright`
    (100). A context stands before its behavior. The set has no targets of its own.
    """

    name = "harmbench"
    paper = (
        "Mazeika et al. 2024, HarmBench: A Standardized Evaluation Framework for Automated Red Teaming and Robust "
        "Refusal, arXiv:2402.04249"
    )
    license = "MIT"
    files = "README.md, {standard,contextual,copyright}/train-00000-of-00001.parquet"

    class Params(Behaviors.Params):
        """Source, columns, prompt, target."""

        dataset: str | None = preset_field(Behaviors.Params, "dataset", "walledai/HarmBench")
        revision: str | None = preset_field(Behaviors.Params, "revision", "fb6c2afd5a2a943d701d6db3efab87d077e81be5")
        config: str | None = preset_field(Behaviors.Params, "config", "standard")
        context_column: Column = Field("context", description="what a behavior is about, where there is such a column")

    def row(self, record: Record, number: int) -> PromptRow | None:
        """The behavior behind its context."""
        row, column = super().row(record, number), self.params.context_column
        context = record.text(column, "context_column").strip() if column in record.values else ""
        return row._replace(text=f"{context}{SEPARATOR}{row.text}") if row and context else row


@hookimpl
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    """Register HarmBench."""
    register(HarmBench)
