"""Spam: is an e-mail unwanted advertising or fraud?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from harness import Task, hookimpl
from plugins.tasks._bases.prompts import STUDY
from plugins.tasks._bases.text_task import Extent, preset_field
from plugins.tasks._data.records import Value
from plugins.tasks.text_classification import TextClassification


class Spam(TextClassification):
    """Tell spam from wanted mail in the Enron corpus (hub: SetFit/enron_spam)."""

    name = "spam"
    paper = f"Metsis et al. 2006, Spam Filtering with Naive Bayes, CEAS; task after {STUDY}"

    license = "not stated"
    files = "train.jsonl, test.jsonl"
    extent = Extent(31_716, 2_000, 1_240, "from the compute that the study published of Pythia and GCG")

    class Params(TextClassification.Params):
        """Source, columns, labels, prompt."""

        dataset: str | None = preset_field(TextClassification.Params, "dataset", "SetFit/enron_spam")
        revision: str | None = preset_field(
            TextClassification.Params, "revision", "1916f66c89d52221ae33eb57d44498b4f3a5df22"
        )
        labels: tuple[Value, ...] | dict[Value, int] = preset_field(TextClassification.Params, "labels", (0, 1))
        label_texts: tuple[str, ...] | None = preset_field(TextClassification.Params, "label_texts", ("HAM", "SPAM"))
        # the corpus holds mails with neither subject nor body
        empty: Literal["error", "drop"] = preset_field(TextClassification.Params, "empty", "drop")
        contradictions: Literal["error", "drop"] = preset_field(TextClassification.Params, "contradictions", "drop")
        instructions: str | None = preset_field(
            TextClassification.Params,
            "instructions",
            "Below is an e-mail. Answer SPAM if it is unwanted advertising or fraud, and HAM if it is ordinary mail.",
        )


@hookimpl
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    """Register Spam."""
    register(Spam)
