"""IMDB: does a film review praise or pan the film?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from harness import Task, hookimpl
from plugins.tasks._bases.prompts import STUDY
from plugins.tasks._bases.text_task import Extent, preset_field
from plugins.tasks._data.records import Value
from plugins.tasks.text_classification import TextClassification


class IMDB(TextClassification):
    """Tell negative from positive film reviews (hub: stanfordnlp/imdb)."""

    name = "imdb"
    paper = f"Maas et al. 2011, Learning Word Vectors for Sentiment Analysis, ACL; task after {STUDY}"

    license = "not stated"
    files = "README.md, plain_text/train-00000-of-00001.parquet, plain_text/test-00000-of-00001.parquet"
    extent = Extent(25_000, 25_000, 1_210, "from the compute that the study published of Pythia and GCG")

    class Params(TextClassification.Params):
        """Source, columns, labels, prompt."""

        dataset: str | None = preset_field(TextClassification.Params, "dataset", "stanfordnlp/imdb")
        revision: str | None = preset_field(
            TextClassification.Params, "revision", "e6281661ce1c48d982bc483cf8a173c1bbeb5d31"
        )
        labels: tuple[Value, ...] | dict[Value, int] = preset_field(TextClassification.Params, "labels", (0, 1))
        label_texts: tuple[str, ...] | None = preset_field(
            TextClassification.Params, "label_texts", ("NEGATIVE", "POSITIVE")
        )
        contradictions: Literal["error", "drop"] = preset_field(TextClassification.Params, "contradictions", "drop")
        instructions: str | None = preset_field(
            TextClassification.Params,
            "instructions",
            "Below is a film review. Answer POSITIVE if its author liked the film on the whole, and NEGATIVE "
            "otherwise.",
        )


@hookimpl
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    """Register IMDB."""
    register(IMDB)
