"""Behaviors: a local table or a hub dataset of prompts answered in text, harmful or benign."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, Self

from pydantic import Field, model_validator

from harness import DataError, Task, did_you_mean, hookimpl, host_field
from plugins.tasks._bases.generation_task import GenerationTask, PromptRow
from plugins.tasks._data.records import Column, Record, Value, canonical_value, check_columns, is_missing


class Behaviors(GenerationTask):
    """Prompts from a local file or a hub dataset, harmful or benign, answered in text; attack text is added to the
    prompt.
    """

    name = "behaviors"
    paper = (
        "Zou et al. 2023, Universal and Transferable Adversarial Attacks on Aligned Language Models, arXiv:2307.15043"
    )

    class Params(GenerationTask.Params):
        """Source, columns, which prompts are benign, prompt, target."""

        prompt_column: Column = Field("prompt", description="name, or number from 0 where the file names no columns")
        target_column: Column | None = Field(
            None, description="targets, `target` filling the gaps; by default the column `target` where there is one"
        )
        reply_column: Column | None = Field(
            None, description="good answers, to train on; by default the column `reply` where there is one"
        )
        benign: bool = Field(False, description="all prompts are benign: the attacker wants a refusal")
        benign_column: Column | None = Field(
            None, description="tells which prompts are benign; by default the column `benign` where there is one"
        )
        benign_values: tuple[Value, ...] = Field(
            (True, 1, "yes", "benign", "safe"), description="what that column contains for benign prompts, in any case"
        )
        harmful_values: tuple[Value, ...] = Field(
            (False, 0, "no", "harmful", "unsafe"), description="what it contains for the others"
        )
        drop_unlabelled: bool = host_field(
            False, description="leave out prompts for which that column is null or empty"
        )
        only: Literal["harmful", "benign"] | None = Field(None, description="prompts to keep; by default all")

        @model_validator(mode="after")
        def _one_word_on_benign(self) -> Self:
            if self.benign and self.benign_column is not None:
                raise ValueError("`benign: true` makes all prompts benign: leave out `benign_column`")
            if self.benign and self.only == "harmful":
                raise ValueError("`benign: true` and `only: harmful` leave no prompt: keep one")
            both = _comparable(self.benign_values) & _comparable(self.harmful_values)
            if both:
                raise ValueError(f"{sorted(both)} stand in `benign_values` and in `harmful_values`: keep them in one")
            return self

        @model_validator(mode="after")
        def _columns_by_number(self) -> Self:
            columns = (self.prompt_column, self.target_column, self.reply_column, self.benign_column)
            check_columns(self.header, columns, "prompt_column: 0")
            return self

    def made_up_row(self, text: str, number: int) -> PromptRow:
        return PromptRow(text, benign=self.params.benign)

    def row(self, record: Record, number: int) -> PromptRow | None:
        """The prompt, and target, reply and benignness where there are columns of them."""
        p = self.params
        benign = p.benign or self._is_benign(record)
        if benign is None:
            return None
        return PromptRow(
            record.text(p.prompt_column, "prompt_column"),
            self._optional(record, p.target_column, "target"),
            self._optional(record, p.reply_column, "reply"),
            benign,
        )

    def select(self, rows: list[PromptRow]) -> list[PromptRow]:
        """The rows of ``only``."""
        only = self.params.only
        selected = [row for row in rows if only is None or row.benign == (only == "benign")]
        if rows and not selected:
            raise DataError(
                f"{self.name}: `only: {only}` leaves none of {len(rows)} prompts; leave it out, or name the column "
                "that tells which are benign as `benign_column`"
            )
        return selected

    @staticmethod
    def _optional(record: Record, column: Column | None, default: str) -> str:
        """The text of a column, or of the default column where none is given; "" where there is no such column."""
        if column is None and default not in record.values:
            return ""
        return record.text(default if column is None else column, f"{default}_column")

    def _is_benign(self, record: Record) -> bool | None:
        """Whether a prompt is benign; None: not told, and such prompts are to be dropped."""
        column = self.params.benign_column
        if column is None and "benign" not in record.values:
            return False
        column = "benign" if column is None else column
        (value,) = _comparable([record[column]])
        benign, harmful = _comparable(self.params.benign_values), _comparable(self.params.harmful_values)
        if value not in benign | harmful and is_missing(record[column]):
            if self.params.drop_unlabelled:
                return None
            raise DataError(
                f"{record.where}: column {column!r} does not tell whether the prompt is benign; remove the row or give "
                "`drop_unlabelled: true`"
            )
        if value not in benign | harmful:
            raise DataError(
                f"{record.where}: column {column!r} holds {value!r}{did_you_mean(value, sorted(benign | harmful))}, "
                "which is in neither `benign_values` nor `harmful_values`; add it to one of them"
            )
        return value in benign


def _comparable(values: Iterable[object]) -> set[str]:
    return {canonical_value(value).strip().casefold() for value in values}


@hookimpl
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    """Register Behaviors."""
    register(Behaviors)
