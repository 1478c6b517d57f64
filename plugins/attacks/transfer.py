"""Attack strings found against another victim, tried on this one."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, Literal

import numpy as np
from pydantic import Field, PositiveInt

from harness import (
    Attack,
    DataError,
    Problem,
    SpecPath,
    State,
    Step,
    TaskData,
    Tokens,
    continuation_ids,
    hookimpl,
    host_field,
)
from plugins.attacks._common.recorded_strings import FILTERS, RecordedRun, RecordedString


class Transfer(Attack):
    """Replays attack strings from another run's records: transfer between victims and defenses, at no search cost."""

    name = "transfer"
    access = "text"
    paper = (
        "after Zou et al. 2023, 'Universal and Transferable Adversarial Attacks on Aligned Language Models', "
        "arXiv 2307.15043, and arXiv 2407.18213"
    )

    class Params(Attack.Params):
        """The path of the run is no part of the identity; the records in it are."""

        steps: PositiveInt = Field(1, description="how many strings of each example are tried")
        run: SpecPath = host_field(..., description="the run directory whose strings are tried")
        strings: Literal["best", "last", "each_step"] = Field(
            "best",
            description="the first that succeeded there, else that of lowest loss; the last; in step i that of step i",
        )
        task: str | None = Field(None, description="the source's task, by label or name, where the run has several")
        attack: str | None = Field(None, description="the source's attack, by label or name")
        victim: str | None = Field(None, description="the source's victim, by label or name")
        defense: str | None = Field(None, description="the source's defense, by label or name")
        round: PositiveInt | None = Field(None, description="round of the source's defense")
        threat: str | None = Field(None, description="label of the source's threat model")
        seed: int | None = Field(None, description="seed of the source; the lowest when left out")

    @cached_property
    def _source(self) -> RecordedRun:
        return RecordedRun.find(self.params.run, {name: getattr(self.params, name) for name in FILTERS})

    def fingerprint(self) -> dict[str, str]:
        return {"records": self._source.fingerprint}

    def facts(self) -> dict[str, Any]:
        return {"source": self._source.facts()}

    def check(self, data: TaskData) -> None:
        source = self._source.cell.record
        if source.data_hash != data.hash:
            raise DataError(
                f"transfer: the strings in {self.params.run} were found on other data (task {source.task.label}, hash "
                f"{source.data_hash[:12]}) than this task's (hash {data.hash[:12]}); use the same task and parameters"
            )

    def start(self, problem: Problem, rng: np.random.Generator) -> State:
        return problem.state(tokens_in_place(problem, clean(problem)))

    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Step:
        step = state.memory.get("step", 0) + 1
        text = chosen(self._source.strings.get(problem.example.id, []), self.params.strings, step)
        tokens = tokens_in_place(problem, clean(problem) if text is None else text)
        return State(tuple(tokens.tolist()), memory={"step": step})
        yield  # a step is a generator


def chosen(there: list[RecordedString], strings: str, step: int) -> str | None:
    """The string to try in a step, counted from 1; None where the source has none.

    Args:
        there: an example's strings by step.
        strings: ``best``, ``last`` or ``each_step``: that of the same step, or of the last one before that has one.
    """
    if strings == "each_step":
        there = [one for one in there if one.step <= step]
    if not there:
        return None
    won = next((one for one in there if one.success), None)
    if strings != "best" or (won is None and all(math.isinf(one.loss) for one in there)):
        return there[-1].text
    return (won or min(there, key=lambda one: one.loss)).text


def clean(problem: Problem) -> str:
    """The string with which the prompt is the clean one: none, or what the string would replace."""
    replaced = problem.prompt("") != problem.example.text
    return problem.example.chunks[problem.example.region].text if replaced else ""


def tokens_in_place(problem: Problem, text: str) -> Tokens:
    """The tokens of a text, however many; of one that merges with the text around it those it has alone, which do not
    survive tokenisation.
    """
    tokens = problem.tokens_of(text)
    if tokens is None:
        ids = continuation_ids(problem.tokenizer, text) if problem.before_text else problem.tokenizer.encode([text])[0]
        tokens = np.asarray(ids, dtype=np.int64)
    return tokens


@hookimpl
def harness_register_attacks(register):
    register(Transfer)
