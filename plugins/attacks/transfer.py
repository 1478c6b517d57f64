"""Transfer: replays attack strings from another run's records."""

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
    """Replays attack strings from another run's records, to measure transfer between victims and defenses without any
    search.
    """

    name = "transfer"
    access = "text"
    paper = (
        "after Zou et al. 2023, 'Universal and Transferable Adversarial Attacks on Aligned Language Models', "
        "arXiv 2307.15043, and arXiv 2407.18213"
    )

    class Params(Attack.Params):
        """Which strings of which cell. The path of the run is no part of the identity; the records in it are."""

        steps: PositiveInt = Field(1, description="how many strings of each example are replayed")
        run: SpecPath = host_field(..., description="folder of the run whose strings are replayed")
        strings: Literal["best", "last", "each_step"] = Field(
            "best",
            description="which of an example's strings: best, the first that succeeded there, else the one with the "
            "lowest loss; last; each_step, in step i that of step i",
        )
        task: str | None = Field(None, description="the source's task, by label or name, if the run has several")
        attack: str | None = Field(None, description="the source's attack, by label or name")
        victim: str | None = Field(None, description="the source's victim, by label or name")
        defense: str | None = Field(None, description="the source's defense, by label or name")
        round: PositiveInt | None = Field(None, description="round of the source's defense")
        threat: str | None = Field(None, description="label of the source's threat model")
        seed: int | None = Field(None, description="seed of the source; by default the lowest")

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
        return problem.state(tokens_in_context(problem, clean_string(problem)))

    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Step:
        step = state.memory.get("step", 0) + 1
        text = string_for_step(self._source.strings.get(problem.example.id, []), self.params.strings, step)
        tokens = tokens_in_context(problem, clean_string(problem) if text is None else text)
        return State(tuple(tokens.tolist()), memory={"step": step})
        yield  # a step is a generator


def string_for_step(recorded: list[RecordedString], strings: str, step: int) -> str | None:
    """The string to replay in a step; None where the source has none.

    Args:
        recorded: an example's strings by step.
        strings: ``best``, ``last`` or ``each_step``: that of the same step, or of the last one before that has one.
        step: counted from 1.
    """
    if strings == "each_step":
        recorded = [string for string in recorded if string.step <= step]
    if not recorded:
        return None
    first_success = next((string for string in recorded if string.success), None)
    if strings != "best" or (first_success is None and all(math.isinf(string.loss) for string in recorded)):
        return recorded[-1].text
    return (first_success or min(recorded, key=lambda string: string.loss)).text


def clean_string(problem: Problem) -> str:
    """The string with which the prompt is the clean one: "", or the text that an attack string replaces."""
    return problem.replaced


def tokens_in_context(problem: Problem, text: str) -> Tokens:
    """The tokens of a text in the string's place, however many; where they merge with the text around them, the tokens
    of the text alone, which do not survive tokenisation.
    """
    tokens = problem.tokens_of(text)
    if tokens is None:
        ids = continuation_ids(problem.tokenizer, text) if problem.before_text else problem.tokenizer.encode([text])[0]
        tokens = np.asarray(ids, dtype=np.int64)
    return tokens


@hookimpl
def harness_register_attacks(register):
    register(Transfer)
