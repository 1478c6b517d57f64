"""Strings that somebody brings for single examples, from a file, tried in order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from harness import Attack, DataError, Problem, SpecPath, State, Step, TaskData, hookimpl, host_field
from plugins.attacks._common.table_file import TableParams, read_records
from plugins.attacks._common.whole_text import clean_state
from plugins.attacks.transfer import tokens_in_context


class GivenStrings(Attack):
    """Tries strings brought for single examples, without any search: what a claim against a row is made of."""

    name = "given_strings"
    access = "text"
    paper = "no paper: strings found elsewhere, by whatever means"

    class Params(TableParams):
        """Where the strings are. The path is no part of the identity; the strings are, by their hash."""

        steps: PositiveInt = Field(1, description="how many strings of each example are tried, in the file's order")
        path: SpecPath | None = host_field(
            None,
            description="file with the columns example and string: CSV, TSV, JSON, JSONL, Parquet; without it, sha256 "
            "says which strings they were, and they cannot be tried again by the attack itself",
        )
        sha256: str | None = Field(
            None, pattern="^[0-9a-f]{64}$", description="hash of the strings; those of the file must have it"
        )

        @model_validator(mode="after")
        def _names_strings(self) -> GivenStrings.Params:
            if self.path is None and self.sha256 is None:
                raise ValueError("give path, the file with the strings")
            return self

    @cached_property
    def strings(self) -> Mapping[str, tuple[str, ...]]:
        """Example to its strings, in the file's order; none where no file is given.

        Raises:
            DataError: the file cannot be read, or its strings are others than ``sha256`` says.
        """
        p = self.params
        if p.path is None:
            return {}
        found: dict[str, list[str]] = {}
        for record in read_records(p.path, p):
            found.setdefault(record.text("example", "example"), []).append(record.text("string", "string"))
        if p.sha256 is not None and strings_hash(found) != p.sha256:
            raise DataError(
                f"given_strings: the strings in {p.path} have the hash {strings_hash(found)[:12]}, and sha256 says "
                f"{p.sha256[:12]}; give the file that the spec was written for, or leave out sha256"
            )
        return {example: tuple(texts) for example, texts in found.items()}

    def fingerprint(self) -> dict[str, str]:
        return {"strings": self.params.sha256 or strings_hash(self.strings)}

    def facts(self) -> dict[str, Any]:
        return {"source": {"strings": self.fingerprint()["strings"]}}

    def check(self, data: TaskData) -> None:
        unknown = set(self.strings) - {example.id for example in data.validation}
        if unknown:
            raise DataError(
                f"given_strings: {self.params.path} names the example {min(unknown)!a:.80}, which this task does not "
                "have; name examples as the records do"
            )

    def remarks(self, problems: Sequence[Problem]) -> list[str]:
        """How many examples have no string; DataError where there is no file, or no example has one."""
        if self.params.path is None:
            raise DataError("given_strings: no file of strings; give path, the file whose strings have this sha256")
        without = sum(not self.strings.get(problem.example.id) for problem in problems)
        if problems and without == len(problems):
            known = ", ".join(problem.example.id for problem in problems[:3])
            raise DataError(
                f"given_strings: {self.params.path} has strings for none of the attacked examples ({known}, …); name "
                "examples as the records do"
            )
        return [f"given_strings has no string for {without} of {len(problems)} examples"] if without else []

    def start(self, problem: Problem, rng: np.random.Generator) -> State:
        return clean_state(problem)

    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Step:
        step = state.memory.get("step", 0) + 1
        texts = self.strings.get(problem.example.id, ())
        if not texts:
            return State(clean_state(problem).tokens, memory={"step": step})
        tokens = tokens_in_context(problem, texts[min(step, len(texts)) - 1])
        return State(tuple(tokens.tolist()), memory={"step": step})
        yield  # a step is a generator


def strings_hash(strings: Mapping[str, Sequence[str]]) -> str:
    """sha256 of strings by example, whatever the order of the examples; 64 hexadecimal digits."""
    plain = json.dumps({example: list(texts) for example, texts in strings.items()}, sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()


@hookimpl
def harness_register_attacks(register):
    register(GivenStrings)
