"""Attacks: state machines that ask for what they need. An attack never touches a model.

A step is a generator: it yields requests (`Score`, `Gradient`, …), is sent the answers, and returns the next state. The
engine runs the steps of many examples side by side, meters every request, and judges the state's attack string itself.
Every request goes to the victim, or to the auxiliary model whose role it names.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, PositiveInt

from harness.api.model.auxiliary import Auxiliary
from harness.api.params import Params
from harness.api.plugin import Kind, Plugin
from harness.api.problem.problem import Problem
from harness.api.problem.state import State
from harness.api.requests import Request
from harness.api.task import TaskData
from harness.api.threat import Access

Step = Generator[Request, Any, State]


class Attack(Plugin):
    """A search for an attack string. Implement `start` and `step`; set `name` and `access`.

    Attributes:
        begins_answer: whether its strings make sense as the beginning of an answer alone: it needs a threat model with
            ``position: answer``, or a task in which that is what may be changed.
        relaxes: whether it asks for `RelaxedGradient`, which defenses that need a text refuse.
        access: the least that it needs of the victim. What it is granted, which may be more, is `Problem.access`.
    """

    kind: ClassVar[Kind] = "attack"
    access: ClassVar[Access] = "scores"
    begins_answer: ClassVar[bool] = False
    relaxes: ClassVar[bool] = False

    class Params(Params):
        """The parameters of an attack; subclass it to add to them."""

        steps: PositiveInt = Field(10, description="how many steps to run; each is judged and recorded")

    def models(self) -> dict[str, Auxiliary]:
        """The auxiliary models that requests name, by role. None by default."""
        return {}

    def group(self) -> int:
        """How many examples share one string (a universal string). The answers to `Score`, `Gradient`, `Perturb` and
        `RelaxedGradient` are then means over these examples, and a string survives tokenisation when it does so in all
        of them.
        """
        return 1

    def fingerprint(self) -> dict[str, str]:
        """What else identifies the attack: hashes of files that it reads. Part of the cell's key."""
        return {}

    def facts(self) -> dict[str, Any]:
        """What a reader of the records should know of it besides its parameters, as JSON data."""
        return {}

    def check(self, data: TaskData) -> None:
        """Raise `DataError` where this attack cannot be run on that task. Called before anything is spent."""

    def remarks(self, problems: Sequence[Problem]) -> list[str]:
        """What a run should say before the search, such as how many strings of a file do not fit. Asks nothing. Raise
        `DataError` where no example can be attacked.
        """
        return []

    @abstractmethod
    def start(self, problem: Problem, rng: np.random.Generator) -> State:
        """The state before the first step. Asks nothing, costs nothing."""

    @abstractmethod
    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Step:
        """One step: yield requests, return the next state. `rng` is fresh for each step and depends on (seed, cell,
        example, step) alone.
        """
