"""AG News: which of four topics is a news item about?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from harness import Task, hookimpl
from plugins.tasks._bases.text_task import preset_field
from plugins.tasks._data.records import Value
from plugins.tasks.text_classification import TextClassification


class AGNews(TextClassification):
    """Tell four topics of news apart (hub: fancyzhx/ag_news)."""

    name = "ag_news"
    paper = "Zhang et al. 2015, Character-level Convolutional Networks for Text Classification, arXiv:1509.01626"
    license = "not stated; the source of the news allows non-commercial use"
    files = "README.md, data/train-00000-of-00001.parquet, data/test-00000-of-00001.parquet"

    class Params(TextClassification.Params):
        """Source, columns, labels, prompt."""

        dataset: str | None = preset_field(TextClassification.Params, "dataset", "fancyzhx/ag_news")
        revision: str | None = preset_field(
            TextClassification.Params, "revision", "eb185aade064a813bc0b7f42de02595523103ca4"
        )
        labels: tuple[Value, ...] | dict[Value, int] = preset_field(TextClassification.Params, "labels", (0, 1, 2, 3))
        label_texts: tuple[str, ...] | None = preset_field(
            TextClassification.Params, "label_texts", ("WORLD", "SPORTS", "BUSINESS", "SCI/TECH")
        )
        contradictions: Literal["error", "drop"] = preset_field(TextClassification.Params, "contradictions", "drop")
        instructions: str | None = preset_field(
            TextClassification.Params,
            "instructions",
            "Below is a news item. Answer with its topic: WORLD, SPORTS, BUSINESS or SCI/TECH.",
        )


@hookimpl
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    """Register AGNews."""
    register(AGNews)
