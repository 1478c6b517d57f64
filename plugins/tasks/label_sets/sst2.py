"""SST-2: does a sentence of a film review praise or pan?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from harness import Task, hookimpl
from plugins.tasks._bases.text_task import preset_field
from plugins.tasks._data.records import Column, Value
from plugins.tasks.text_classification import TextClassification


class SST2(TextClassification):
    """Tell negative from positive sentences of film reviews (hub: stanfordnlp/sst2; its test split has no labels)."""

    name = "sst2"
    paper = (
        "Socher et al. 2013, Recursive Deep Models for Semantic Compositionality Over a Sentiment Treebank, EMNLP; as "
        "in GLUE, arXiv:1804.07461"
    )
    license = "not stated"
    files = "README.md, data/train-00000-of-00001.parquet, data/validation-00000-of-00001.parquet"

    class Params(TextClassification.Params):
        """Source, columns, labels, prompt."""

        dataset: str | None = preset_field(TextClassification.Params, "dataset", "stanfordnlp/sst2")
        revision: str | None = preset_field(
            TextClassification.Params, "revision", "8d51e7e4887a4caaa95b3fbebbf53c0490b58bbb"
        )
        text_column: Column = preset_field(TextClassification.Params, "text_column", "sentence")
        labels: tuple[Value, ...] | dict[Value, int] = preset_field(TextClassification.Params, "labels", (0, 1))
        label_texts: tuple[str, ...] | None = preset_field(
            TextClassification.Params, "label_texts", ("NEGATIVE", "POSITIVE")
        )
        contradictions: Literal["error", "drop"] = preset_field(TextClassification.Params, "contradictions", "drop")
        instructions: str | None = preset_field(
            TextClassification.Params,
            "instructions",
            "Below is a part of a film review. Answer POSITIVE if it speaks well of the film, and NEGATIVE if it "
            "speaks badly of it.",
        )


@hookimpl
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    """Register SST2."""
    register(SST2)
