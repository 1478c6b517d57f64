"""Text classification: a local table or a hub dataset with a text column and a label column."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Self

from pydantic import Field, model_validator

from harness import DataError, Task, did_you_mean, hookimpl, host_field
from plugins.tasks._bases.labelled_text_task import LabelledText, LabelledTextTask
from plugins.tasks._data.records import Column, Record, Value, canonical_value, check_columns, is_missing


class TextClassification(LabelledTextTask):
    """Classify texts from a local file or a hub dataset; attack text is added to the text."""

    name = "text_classification"

    class Params(LabelledTextTask.Params):
        """Source, columns, labels, prompt."""

        text_column: Column = Field("text", description="name, or number from 0 where the file names no columns")
        label_column: Column = Field("label", description="name, or number from 0 where the file names no columns")
        labels: tuple[Value, ...] | dict[Value, int] = Field(
            ...,
            description="values of the label column in index order, or {value: index} to put several under one label",
        )
        label_texts: tuple[str, ...] | None = Field(
            None, description="words a model answers with, in index order; null: the values in capitals"
        )
        drop_unlabelled: bool = host_field(False, description="leave out rows whose label is null or empty")

        @model_validator(mode="after")
        def _labels_in_order(self) -> Self:
            values = label_indices(self.labels)
            if isinstance(self.labels, tuple) and len(values) < len(self.labels):
                raise ValueError(f"a value appears twice in `labels`: {self.labels}")
            count = max(values.values(), default=-1) + 1
            if set(values.values()) != set(range(count)) or count < 2:
                raise ValueError(
                    f"`labels` must fill the indices 0, 1, ... (at least two) without a gap, got {self.labels}"
                )
            given = self.label_texts is not None
            words = [text.strip() for text in self.label_texts or (() if given else default_label_texts(self.labels))]
            if len(words) != count or len(set(words)) < count or not all(words):
                made = "got" if given else "and in capitals the values of `labels` are"
                raise ValueError(f"`label_texts` must be {count} different words, one per label, {made} {words}")
            return self

        @model_validator(mode="after")
        def _columns_by_number(self) -> Self:
            check_columns(self.header, (self.text_column, self.label_column), "text_column: 1")
            return self

    def label_texts(self) -> list[str]:
        """``label_texts``, or the first value of each label in capitals."""
        return [text.strip() for text in self.params.label_texts or default_label_texts(self.params.labels)]

    def row(self, record: Record, number: int) -> LabelledText | None:
        """The text column as it is, and the label column through ``labels``."""
        found = record[self.params.label_column]
        value = canonical_value(found)
        if value in self._index:
            return LabelledText(record.text(self.params.text_column), self._index[value])
        if is_missing(found):
            if self.params.drop_unlabelled:
                return None
            raise DataError(f"{record.where}: the row has no label; remove it or give `drop_unlabelled: true`")
        raise DataError(
            f"{record.where}: label {value!r} is not in `labels`{did_you_mean(value, self._index)}; "
            f"known: {list(self._index)}. "
            "Add it, or quote labels that YAML takes for something else (yes, no, true, 1.0)"
        )

    @cached_property
    def _index(self) -> dict[str, int]:
        return label_indices(self.params.labels)


def label_indices(labels: tuple[Value, ...] | dict[Value, int]) -> dict[str, int]:
    """Index of each value of the label column, by `canonical_value`."""
    pairs = labels.items() if isinstance(labels, dict) else ((value, index) for index, value in enumerate(labels))
    return {canonical_value(value): index for value, index in pairs}


def default_label_texts(labels: tuple[Value, ...] | dict[Value, int]) -> list[str]:
    """The first value of each label in capitals."""
    first: dict[int, str] = {}
    for value, index in label_indices(labels).items():
        first.setdefault(index, value.upper())
    return [first[index] for index in range(len(first))]


@hookimpl
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    """Register TextClassification."""
    register(TextClassification)
