"""Attacks: state machines that ask for what they need. An attack never touches a model.

A step is a generator: it yields requests (`Score`, `Gradient`), is sent the answers, and returns the next state. The
engine runs the steps of many examples side by side, meters every request, and judges the state's attack string itself.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, PositiveInt

from harness.params import Params
from harness.plugin import Kind, Plugin
from harness.problem import Problem
from harness.state import State
from harness.threat import Access
from harness.tokens.text import Floats, Tokens


@dataclass(frozen=True, slots=True)
class Score:
    """Ask for the loss of each candidate. Answer: `Floats` of shape [K], cross-entropy to the proxy label in nats;
    ``inf`` where a guard blocks it.

    Attributes:
        candidates: attack strings, shape [K, S] with S the threat model's token budget; K may be 0.
        near: shape [S], the string from which each candidate differs in few positions, if there is one (lets the engine
            reuse computation).
    """

    candidates: Tokens
    near: Tokens | None = None
    access: ClassVar[Access] = "scores"


@dataclass(frozen=True, slots=True)
class Gradient:
    """Ask for the gradient of the loss with respect to the one-hot encoding of the attack string. Answer:
    `GradientAnswer`.

    Attributes:
        tokens: the attack string, shape [S].
        top: how many tokens to return per position, those whose substitution lowers the loss most to first order; only
            allowed tokens count.
    """

    tokens: Tokens
    top: int
    access: ClassVar[Access] = "gradient"


@dataclass(frozen=True, slots=True)
class GradientAnswer:
    """The most promising substitutions.

    Attributes:
        loss: loss of the string itself.
        tokens: shape [S, top], best first (most negative gradient; ties by token id). `top` is cut to the number of
            allowed tokens.
        values: shape [S, top], the gradient entries of those tokens.
    """

    loss: float
    tokens: Tokens
    values: Floats


Request = Score | Gradient
Step = Generator[Request, Any, State]


class Attack(Plugin):
    """A search for an attack string. Implement `start` and `step`; set `name` and `access`."""

    kind: ClassVar[Kind] = "attack"
    access: ClassVar[Access] = "scores"

    class Params(Params):
        steps: PositiveInt = Field(10, description="how many steps to run; each is judged and recorded")

    @abstractmethod
    def start(self, problem: Problem, rng: np.random.Generator) -> State:
        """The state before the first step. Asks nothing, costs nothing."""

    @abstractmethod
    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Step:
        """One step: yield requests, return the next state. `rng` is fresh for each step and depends on (seed, cell,
        example, step) alone.
        """
