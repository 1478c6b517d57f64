"""Searches by the attack under test on the kit's examples, which the checks of attacks look at."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from harness.api.attack import Attack, Step
from harness.api.problem.problem import Problem
from harness.api.problem.search_result import SearchResult
from harness.api.problem.state import State
from harness.api.task import TaskKind
from harness.errors import AccessError, DataError
from harness.records.step_row import StepRow
from harness.testing.plugin_under_test import Subject
from harness.testing.results import NotApplicableError, UnmetError
from harness.testing.toys.examples import Case, ordinary
from harness.testing.toys.task_data import ANSWER_KINDS

DEFAULT_STEPS = 4
MAX_REQUESTS = 1000
"""Requests of one step; none of the built-in attacks comes near."""


class LimitedRequests:
    """An attack whose steps are stopped where they make requests without end."""

    def __init__(self, attack: Attack) -> None:
        self._attack = attack

    def __getattr__(self, name: str) -> Any:
        return getattr(self._attack, name)

    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Step:
        """As `Attack`, at most `MAX_REQUESTS` times."""
        step, answer = self._attack.step(state, problem, rng), None
        for _ in range(MAX_REQUESTS + 1):
            try:
                request = step.send(answer)
            except StopIteration as stop:
                new: State = stop.value
                return new
            answer = yield request
        raise UnmetError(
            f"a step that ends after at most {MAX_REQUESTS} requests",
            "it went on asking",
            "ask for many strings in one Score, and let `steps` say how often the search goes on",
        )


def fresh_attack(subject: Subject) -> Any:
    """A fresh instance, of `DEFAULT_STEPS` steps where the subject's parameters do not say how many."""
    return LimitedRequests(subject.fresh(**({} if "steps" in subject.params else {"steps": DEFAULT_STEPS})))


def attackable_kinds(subject: Subject) -> list[TaskKind]:
    """The kinds of answers of a victim that the attack works on.

    Raises:
        NotApplicableError: it says that it cannot be run on the kit's examples.
        UnmetError: it makes requests that no victim answers.
    """
    kinds: list[TaskKind] = []
    errors: list[Exception] = []
    for kind in ANSWER_KINDS:
        attack = subject.fresh(steps=1)
        case = ordinary(kind, "latent", _count(attack))
        try:
            attack.check(case.data)
            case.search(LimitedRequests(attack), "latent").run(case.problems()[: attack.group()])  # type: ignore[arg-type]
        except (AccessError, DataError) as error:
            errors.append(error)
        except Exception:  # the checks themselves will say
            kinds.append(kind)
        else:
            kinds.append(kind)
    if not kinds and all(isinstance(error, DataError) for error in errors):
        raise NotApplicableError(f"the attack cannot be run on the kit's examples: {errors[0]}")
    if not kinds:
        raise UnmetError("an attack that some victim can answer", str(errors[0]), "ask for what a victim offers")
    return kinds


def ordinary_cases(subject: Subject, **changes: Any) -> Iterator[Case]:
    """The ordinary case of each kind of answers that the attack works on."""
    for kind in attackable_kinds(subject):
        yield ordinary(kind, subject.cls.access, _count(subject.fresh()), **changes)  # type: ignore[attr-defined]


def _count(attack: Attack) -> int:
    """How many examples the ordinary case has: at least two groups."""
    return max(4, 2 * attack.group())


def run_attack(subject: Subject, case: Case, attack: Any = None, **options: Any) -> SearchResult:
    """A whole search on a case, by a fresh instance unless one is given."""
    attack = fresh_attack(subject) if attack is None else attack
    return case.search(attack, subject.cls.access, **options).run(case.problems())  # type: ignore[attr-defined]


def comparable(rows: list[StepRow]) -> str:
    """Rows as text, less the seconds, which may differ between two runs; equal where the rows are, NaN included."""
    return json.dumps([replace(row, seconds=0.0).to_record() for row in rows], sort_keys=True)


def expect_same(one: list[StepRow], other: list[StepRow], expected: str, mend: str) -> None:
    """Raise UnmetError, which names the first row that differs, where two lists of rows are not the same."""
    if comparable(one) == comparable(other):
        return
    i = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if comparable([a]) != comparable([b])), 0)
    left, right = one[i].to_record(), other[i].to_record() if other else {}
    names = [name for name in right if name != "seconds" and left[name] != right[name]]
    values = "; ".join(f"{name} {left[name]!r} and {right[name]!r}" for name in names[:3])
    raise UnmetError(expected, f"at example {one[i].example}, step {one[i].step} they differ: {values}", mend)
