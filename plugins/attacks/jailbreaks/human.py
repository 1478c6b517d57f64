"""Strings that people wrote, from a file, tried in order."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import Field, PositiveInt

from harness import NO_LABEL, Attack, DataError, Generate, Problem, SpecPath, State, Step, hookimpl
from plugins._common.prompt_template import fill_template
from plugins.attacks._common.answer_success import looks_successful
from plugins.attacks._common.table_file import LINE_COLUMN, TableParams, read_records, written_text
from plugins.attacks._common.whole_text import Placed, clean_state, place_whole
from plugins.tasks._data.records import Column

PROMPT = "{prompt}"
"""Stands for the request in a string that replaces it."""
REVIEWED = 8  # examples on which the strings that do not fit are counted
_SUCCEEDED, _TRIED = "found", "tried"  # keys of a state's memory


class Human(Attack):
    """Jailbreaks that people share: the strings of a file, one per step, the first that works kept."""

    name = "human"
    access = "text"
    paper = (
        'after Shen et al. 2023, \'"Do Anything Now": Characterizing and Evaluating In-The-Wild Jailbreak Prompts on '
        "Large Language Models', arXiv 2308.03825; as in HarmBench, Mazeika et al. 2024, arXiv 2402.04249"
    )

    class Params(TableParams):
        steps: PositiveInt = Field(20, description="how many steps to run; each tries one string")
        path: SpecPath = Field(description="file with the strings: CSV, TSV, JSON, JSONL, Parquet, or lines (.txt)")
        column: Column = Field(LINE_COLUMN, description="the column with the strings: its name, or its number from 0")
        max_tokens: PositiveInt = Field(32, description="longest answer that is read, in the victim's tokens")

    @cached_property
    def strings(self) -> tuple[str, ...]:
        """The strings in the file's order, each once."""
        p = self.params
        records = read_records(p.path, p)
        return tuple(dict.fromkeys(written_text(record, p.column, "column") for record in records))

    def fingerprint(self) -> dict[str, str]:
        return {"strings": hashlib.sha256(json.dumps(self.strings).encode()).hexdigest()}

    def facts(self) -> dict[str, Any]:
        return {"strings": len(self.strings)}

    def remarks(self, problems: Sequence[Problem]) -> list[str]:
        """How many strings do not fit, and why; DataError where none does in any example."""
        p, count = self.params, len(self.strings)
        if problems and not any(placed(one, text).why == "" for one in problems for text in self.strings):
            why = placed(problems[0], self.strings[0]).why
            raise DataError(
                f"human: none of the strings of {p.path} can be used in any example: the first {why}; grant more "
                "`tokens`, or use other strings"
            )
        looked_at = problems[:: max(1, len(problems) // REVIEWED)][:REVIEWED]
        reasons = Counter(why for one in looked_at for text in self.strings if (why := placed(one, text).why))
        each = f"of {count * len(looked_at)} placements (strings × examples: {count} × {len(looked_at)})"
        return [f"human skips {times} {each}: the string {why}" for why, times in reasons.most_common()]

    def start(self, problem: Problem, rng: np.random.Generator) -> State:
        return clean_state(problem)

    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Step:
        succeeded, tried = bool(state.memory.get(_SUCCEEDED)), int(state.memory.get(_TRIED, 0))
        if succeeded and problem.example.label != NO_LABEL:  # a label is the verdict: more queries would be wasted
            return state
        tokens = None
        while tokens is None and tried < len(self.strings):
            tokens = placed(problem, self.strings[tried]).tokens
            tried += 1
        if tokens is None:
            return state
        (answer,) = yield Generate((problem.prompts(tokens[None])[0],), self.params.max_tokens)
        works = looks_successful(problem, answer)
        memory = {_TRIED: tried, _SUCCEEDED: succeeded or works}
        return State(state.tokens if succeeded and not works else tuple(tokens.tolist()), memory=memory)


def placed(problem: Problem, text: str) -> Placed:
    """A string in its place. Where it replaces the request, this stands at its `PROMPT`, else behind it."""
    request = problem.replaced.strip()
    if PROMPT in text and not request:
        return Placed(None, f"holds {PROMPT}, for which it has to replace the request (`edit: replace`)")
    if PROMPT in text:
        return place_whole(problem, fill_template(text, prompt=request))
    return place_whole(problem, f"{text}\n\n{request}" if request else text)


@hookimpl
def harness_register_attacks(register):
    register(Human)
