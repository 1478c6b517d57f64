"""Attacks: state machines that ask for what they need. An attack never touches a model.

A step is a generator: it yields requests (`Score`, `Gradient`, …), is sent the answers, and returns the next state. The
engine runs the steps of many examples side by side, meters every request, and judges the state's attack string itself.
Every request goes to the victim, or to the auxiliary model whose role it names.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, PositiveInt

from harness.auxiliary import Auxiliary
from harness.params import Params
from harness.plugin import Kind, Plugin
from harness.problem import Problem
from harness.state import State
from harness.task import TaskData
from harness.threat import Access
from harness.tokens.text import Floats, Tokens


@dataclass(frozen=True, slots=True)
class Score:
    """Ask for the loss of each candidate. Answer: `Floats` of shape [K], in nats: cross-entropy to the proxy label, or
    mean NLL of the target text; ``inf`` where a guard blocks it.

    Attributes:
        candidates: attack strings, shape [K, S] with S the threat model's token budget; K may be 0.
        near: shape [S], the string from which each candidate differs in few positions, if there is one, or several such
            strings, [n, S] (lets the engine reuse computation).
        model: the role of an auxiliary model; "" is the victim.
    """

    candidates: Tokens
    near: Tokens | None = None
    model: str = ""
    access: ClassVar[Access] = "scores"


@dataclass(frozen=True, slots=True)
class Gradient:
    """Ask for the gradient of the loss with respect to the one-hot encoding of the attack string. Answer:
    `GradientAnswer`.

    Attributes:
        tokens: the attack string, shape [S].
        top: how many tokens to return per position, those whose substitution lowers the loss most to first order; only
            allowed tokens count.
        model: the role of an auxiliary model; "" is the victim.
    """

    tokens: Tokens
    top: int
    model: str = ""
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
        model: the role of an auxiliary model; "" is the victim.
    """

    strings: Tokens
    k: int
    seed: int
    top: int | None = None
    model: str = ""
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
    """Ask for answers in text. Answer: list of texts, None where a guard refused. A victim of a task with labels
    answers with the text of its label.

    Attributes:
        prompts: whole prompts.
        max_tokens: longest answer.
        temperature: 0 for the most likely token at each place.
        seed: of the draw at a temperature above 0.
        model: the role of an auxiliary model; "" is the victim.
    """

    prompts: tuple[str, ...]
    max_tokens: int = 128
    temperature: float = 0.0
    seed: int = 0
    model: str = ""
    access: ClassVar[Access] = "text"


@dataclass(frozen=True, slots=True)
class Classify:
    """Ask for the label logits of whole prompts. Answer: `Floats` of shape [prompts, labels], NaN where a guard refused
    or the prompt is longer than the context.

    Attributes:
        prompts: whole prompts.
        model: the role of an auxiliary model; "" is the victim.
    """

    prompts: tuple[str, ...]
    model: str = ""
    access: ClassVar[Access] = "scores"


@dataclass(frozen=True, slots=True)
class Perturb:
    """Ask for the loss when something is added to the activations at the attack string, and for its gradient by that.
    Answer: `PerturbAnswer`.

    Attributes:
        tokens: the attack string, shape [S], at least one token.
        delta: what is added, shape [S, H] with H the width of the activations; None: zeros.
        layer: where: 0 the input embeddings; l the output of decoder layer l, counted from 1.
        model: the role of an auxiliary model; "" is the victim.
    """

    tokens: Tokens
    delta: Floats | None = None
    layer: int = 0
    model: str = ""
    access: ClassVar[Access] = "latent"


@dataclass(frozen=True, slots=True)
class PerturbAnswer:
    """Where a perturbation stands.

    Attributes:
        loss: in nats, with the perturbation.
        gradient: of the loss by the perturbation, shape [S, H].
        scale: mean L2 norm of the unperturbed activations at the string: the unit of the threat model's radius. Of a
            string that several examples share, the smallest of theirs.
    """

    loss: float
    gradient: Floats
    scale: float


Request = Score | Gradient | Sample | Generate | Classify | Perturb
Step = Generator[Request, Any, State]


class Attack(Plugin):
    """A search for an attack string. Implement `start` and `step`; set `name` and `access`."""

    kind: ClassVar[Kind] = "attack"
    access: ClassVar[Access] = "scores"

    class Params(Params):
        steps: PositiveInt = Field(10, description="how many steps to run; each is judged and recorded")

    def models(self) -> dict[str, Auxiliary]:
        """The auxiliary models that requests name, by role. None by default."""
        return {}

    def group(self) -> int:
        """How many examples share one string (a universal string). The answers to `Score`, `Gradient` and `Perturb` are
        then means over these examples, and a string survives tokenisation when it does so in all of them.
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

    @abstractmethod
    def start(self, problem: Problem, rng: np.random.Generator) -> State:
        """The state before the first step. Asks nothing, costs nothing."""

    @abstractmethod
    def step(self, state: State, problem: Problem, rng: np.random.Generator) -> Step:
        """One step: yield requests, return the next state. `rng` is fresh for each step and depends on (seed, cell,
        example, step) alone.
        """
