"""Behaviors: any table of prompts that are answered in text, forbidden or benign."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Self

from pydantic import Field, model_validator

from harness import DataError, Task, hookimpl
from plugins.tasks._bases.generation_task import AnsweredTask, Request
from plugins.tasks._data.records import Record, did_you_mean
from plugins.tasks.text_classification import Column, Value, canonical, text_of


class Behaviors(AnsweredTask):
    """Prompts from a local file or a hub dataset, answered in text; attack text is added to the prompt."""

    name = "behaviors"
    paper = (
        "Zou et al. 2023, Universal and Transferable Adversarial Attacks on Aligned Language Models, arXiv:2307.15043"
    )

    class Params(AnsweredTask.Params):
        """Source, columns, prompt, target."""

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
            (True, 1, "yes", "benign", "safe"), description="what that column holds of benign prompts, in any case"
        )
        harmful_values: tuple[Value, ...] = Field(
            (False, 0, "no", "harmful", "unsafe"), description="what it holds of the others"
        )
        only: Literal["harmful", "benign"] | None = Field(None, description="prompts to keep; by default all")

        @model_validator(mode="after")
        def _one_word_on_benign(self) -> Self:
            if self.benign and self.benign_column is not None:
                raise ValueError("`benign: true` makes all prompts benign: leave out `benign_column`")
            if self.benign and self.only == "harmful":
                raise ValueError("`benign: true` and `only: harmful` leave no prompt: keep one")
            both = {_plain(value) for value in self.benign_values} & {_plain(value) for value in self.harmful_values}
            if both:
                raise ValueError(f"{sorted(both)} stand in `benign_values` and in `harmful_values`: keep them in one")
            return self

        @model_validator(mode="after")
        def _columns_by_number(self) -> Self:
            columns = (self.prompt_column, self.target_column, self.reply_column, self.benign_column)
            named = [column for column in columns if isinstance(column, str)]
            if not self.header and named:
                raise ValueError(
                    f"with `header: false` columns are numbers from 0, got {named}; e.g. `prompt_column: 0`"
                )
            return self

    def request(self, record: Record, number: int) -> Request:
        """The prompt's column, and those of the others that are there."""
        p = self.params
        return Request(
            text_of(record, p.prompt_column, "prompt_column"),
            self._optional(record, p.target_column, "target"),
            self._optional(record, p.reply_column, "reply"),
            p.benign or self._is_benign(record),
        )

    def wanted(self, requests: list[Request]) -> list[Request]:
        """Those of ``only``."""
        only = self.params.only
        kept = [request for request in requests if only is None or request.benign == (only == "benign")]
        if requests and not kept:
            raise DataError(
                f"{self.name}: `only: {only}` leaves none of {len(requests)} prompts; leave it out, or name the column "
                "that tells which are benign as `benign_column`"
            )
        return kept

    @staticmethod
    def _optional(record: Record, column: Column | None, usual: str) -> str:
        """The text of a column that was asked for, or of the usual one if there is one; else nothing."""
        if column is None and usual not in record.values:
            return ""
        return text_of(record, usual if column is None else column, f"{usual}_column")

    def _is_benign(self, record: Record) -> bool:
        column = self.params.benign_column
        if column is None and "benign" not in record.values:
            return False
        column = "benign" if column is None else column
        value = _plain(record[column])
        benign, harmful = (
            {_plain(value) for value in values} for values in (self.params.benign_values, self.params.harmful_values)
        )
        if value not in benign | harmful:
            raise DataError(
                f"{record.where}: column {column!r} holds {value!r}{did_you_mean(value, sorted(benign | harmful))}, "
                "which stands in neither `benign_values` nor `harmful_values`; add it to one of them"
            )
        return value in benign


def _plain(value: object) -> str:
    return canonical(value).strip().casefold()


@hookimpl
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    """Register Behaviors."""
    register(Behaviors)
