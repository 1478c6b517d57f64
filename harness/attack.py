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


@dataclass(frozen=True, slots=True)
class Sample:
    """Ask for next tokens of each string in its place, drawn without replacement from the victim's distribution (a
    language model's). Answer: `SampleAnswer`.

    Attributes:
        strings: attack strings so far, shape [n, m] with m below the threat model's token budget; n and m may be 0.
        k: how many tokens per string.
        seed: of the draw.
        top: draw among so many of the most likely tokens of those that are allowed; None: among all of these.
    """

    strings: Tokens
    k: int
    seed: int
    top: int | None = None
    access: ClassVar[Access] = "scores"


@dataclass(frozen=True, slots=True)
class SampleAnswer:
    """Next tokens. Only tokens that the threat model allows are drawn, none twice for one string.

    Attributes:
        tokens: shape [n, k], in the order in which they were drawn. `k` is cut to the number of tokens drawn among.
        log_probs: shape [n, k], in nats, under the victim's distribution over its whole vocabulary.
    """

    tokens: Tokens
    log_probs: Floats


@dataclass(frozen=True, slots=True)
class Generate:
    """Ask for the victim's answers in text (a language model's). Answer: list of texts, None where a guard refused.

    Attributes:
        prompts: whole prompts.
        max_tokens: longest answer.
        temperature: 0 for the most likely token at each place.
        seed: of the draw at a temperature above 0.
    """

    prompts: tuple[str, ...]
    max_tokens: int = 128
    temperature: float = 0.0
    seed: int = 0
    access: ClassVar[Access] = "text"


Request = Score | Gradient | Sample | Generate
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
