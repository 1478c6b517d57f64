"""What Helpful and Harmless share: which of two conversations did a human prefer?"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from plugins.tasks._bases.corpus_task import CorpusTask
from plugins.tasks._bases.prompts import STUDY
from plugins.tasks._data.records import Record
from plugins.tasks.text_classification import text_of

PAPER = f"Bai et al. 2022, Training a Helpful and Harmless Assistant with RLHF, arXiv:2204.05862; task after {STUDY}"


class PreferenceTask(CorpusTask):
    """Base of tasks about a chosen and a rejected conversation, put one after the other into one text.

    The chosen one comes first on even rows (label FIRST) and second on odd rows (label SECOND), so the labels are
    balanced and a row's label does not depend on the seed.
    """

    paper = PAPER

    class Params(CorpusTask.Params):
        """Source, columns, prompt."""

        dataset: str | None = "Anthropic/hh-rlhf"
        chosen_column: str | int = Field("chosen", description="the preferred conversation")
        rejected_column: str | int = Field("rejected", description="the other one")
        empty: Literal["error", "drop"] = "drop"

    def label_texts(self) -> tuple[str, str]:
        """FIRST or SECOND, wherever the chosen conversation stands."""
        return ("FIRST", "SECOND")

    def row(self, record: Record, number: int) -> tuple[str, int]:
        """Both conversations under headings, in an order that alternates."""
        label = number % 2
        pair = [
            text_of(record, self.params.chosen_column).strip(),
            text_of(record, self.params.rejected_column).strip(),
        ]
        if not all(pair):
            return "", label
        first, second = pair[::-1] if label else pair
        return f"First conversation:\n\n{first}\n\nSecond conversation:\n\n{second}", label
