"""Base of tasks on preferences: which of two conversations did a human prefer?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from harness import DataError
from plugins.tasks._bases.labelled_text_task import LabelledText, LabelledTextTask
from plugins.tasks._bases.prompts import STUDY
from plugins.tasks._bases.text_task import preset_field
from plugins.tasks._data.duplicates import Claim
from plugins.tasks._data.records import Column, Record

PAPER = f"Bai et al. 2022, Training a Helpful and Harmless Assistant with RLHF, arXiv:2204.05862; task after {STUDY}"


@dataclass(frozen=True)
class PreferenceRow(LabelledText):
    """Both conversations as one text, and each by itself."""

    chosen: str
    rejected: str


class PreferenceTask(LabelledTextTask):
    """Base of tasks about a chosen and a rejected conversation, put one after the other into one text.

    The chosen one comes first on even rows (label FIRST) and second on odd rows (label SECOND), so the labels are
    balanced and a row's label does not depend on the seed.
    """

    paper = PAPER
    license = "MIT"

    class Params(LabelledTextTask.Params):
        """Source, columns, prompt."""

        dataset: str | None = preset_field(LabelledTextTask.Params, "dataset", "Anthropic/hh-rlhf")
        revision: str | None = preset_field(
            LabelledTextTask.Params, "revision", "09be8c5bbc57cb3887f3a9732ad6aa7ec602a1fa"
        )
        chosen_column: Column = Field("chosen", description="the preferred conversation")
        rejected_column: Column = Field("rejected", description="the other one")
        empty: Literal["error", "drop"] = preset_field(LabelledTextTask.Params, "empty", "drop")
        contradictions: Literal["error", "drop"] = preset_field(LabelledTextTask.Params, "contradictions", "drop")

    def label_texts(self) -> tuple[str, str]:
        """FIRST or SECOND, wherever the chosen conversation stands."""
        return ("FIRST", "SECOND")

    def row(self, record: Record, number: int) -> PreferenceRow | None:
        """Both conversations under headings, in an order that alternates; None where they are the same."""
        label = number % 2
        columns = (self.params.chosen_column, self.params.rejected_column)
        chosen, rejected = (record.text(column).strip() for column in columns)
        if not (chosen and rejected):
            return PreferenceRow("", label, chosen, rejected)
        if chosen == rejected:
            if self.params.contradictions == "error":
                raise DataError(
                    f"{record.where}: both conversations are the same, so that neither is preferred; remove the row or "
                    "give `contradictions: drop`"
                )
            return None
        first, second = (rejected, chosen) if label else (chosen, rejected)
        text = f"First conversation:\n\n{first}\n\nSecond conversation:\n\n{second}"
        return PreferenceRow(text, label, chosen, rejected)

    def claim(self, row: LabelledText) -> Claim:
        """Which conversation is preferred to which, in whatever order they stand."""
        assert isinstance(row, PreferenceRow)
        return Claim(frozenset((row.chosen, row.rejected)), row.chosen)
