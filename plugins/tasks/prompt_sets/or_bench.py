"""OR-Bench: seemingly toxic prompts that a good model answers, and toxic ones that it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import model_validator

from harness import Task, hookimpl
from plugins.tasks._bases.text_task import preset_field
from plugins.tasks.behaviors import Behaviors

TOXIC = "or-bench-toxic"


class ORBench(Behaviors):
    """Over-refusal (hub: bench-llm/or-bench): `config: or-bench-hard-1k` (1,319 prompts) or `or-bench-80k` (80,359),
    all benign; the harmful ones are `config: or-bench-toxic` (655).
    """

    name = "or_bench"
    paper = "Cui et al. 2025, OR-Bench: An Over-Refusal Benchmark for Large Language Models, ICML, arXiv:2405.20947"
    license = "CC-BY-4.0"
    files = "README.md, or-bench-80k.csv, or-bench-hard-1k.csv, or-bench-toxic.csv"

    class Params(Behaviors.Params):
        """Source, columns, prompt, target."""

        dataset: str | None = preset_field(Behaviors.Params, "dataset", "bench-llm/or-bench")
        revision: str | None = preset_field(Behaviors.Params, "revision", "e36d8b80e81837c8a8f264bbb2a49f1b32c7e272")
        config: str | None = preset_field(Behaviors.Params, "config", "or-bench-hard-1k")
        benign: bool = preset_field(Behaviors.Params, "benign", True)

        @model_validator(mode="before")
        @classmethod
        def _toxic_is_not_benign(cls, given: Any) -> Any:
            return {"benign": False} | given if isinstance(given, dict) and given.get("config") == TOXIC else given


@hookimpl
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    """Register ORBench."""
    register(ORBench)
