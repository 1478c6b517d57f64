"""Attacks: state machines that ask for what they need. An attack never touches a model.

A step is a generator: it yields requests (`Score`, `Gradient`), is sent the answers, and returns the next state. The
engine runs the steps of many examples side by side, meters every request, and judges the state's attack string itself.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from harness.params import Params
from harness.plugin import Kind, Plugin
from harness.threat import Access

if TYPE_CHECKING:
    from harness.problem import Problem

Tokens = NDArray[np.int64]
Floats = NDArray[np.float64]


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
Step = Generator[Request, Any, "State"]


@dataclass(frozen=True, slots=True)
class State:
    """Where an attack stands after a step: plain data, so a run can stop and go on between any two steps.

    Attributes:
        tokens: the attack string to be judged, as a tuple of token ids.
        loss: the loss the attack knows for it, or None when it was never scored.
        memory: anything else the attack wants to keep, as JSON data.
    """

    tokens: tuple[int, ...]
    loss: float | None = None
    memory: dict[str, Any] = field(default_factory=dict)

    @property
    def array(self) -> Tokens:
        """The attack string, shape [S]."""
        return np.asarray(self.tokens, dtype=np.int64)

    def best(self, candidates: Tokens, losses: Floats) -> State:
        """The candidate with the lowest loss, or this state if none is lower: best so far. Ties go to the earlier; NaN
        never wins.
        """
        new = self.latest(candidates, losses)
        if new is self or new.loss is None:
            return self
        known = self.loss is not None and bool(np.isfinite(self.loss))
        return self if known and not new.loss < self.loss else new  # type: ignore[operator]

    def latest(self, candidates: Tokens, losses: Floats) -> State:
        """The candidate with the lowest loss of this step, even when it is worse than this state. Unchanged if there is
        no finite loss.
        """
        finite = np.where(np.isfinite(losses), losses, np.inf)
        if len(finite) == 0 or not np.isfinite(finite.min()):
            return self
        at = int(finite.argmin())
        return replace(self, tokens=tuple(int(t) for t in candidates[at]), loss=float(finite[at]))

    def to_json(self) -> dict[str, Any]:
        """JSON data from which `from_json` makes the same state."""
        return {"tokens": list(self.tokens), "loss": self.loss, "memory": self.memory}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> State:
        """Inverse of `to_json`."""
        return cls(tuple(data["tokens"]), data["loss"], data["memory"])


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
