"""Defenses that work while the victim is asked: guards, transforms, votes, and what puts messages around a prompt.

They ask models as attacks and judges do: a method is a generator that yields requests, is sent the answers, and returns
what it makes of them. The engine opens the models, answers the requests of many texts together, and meters them as
defense compute.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from harness.api.defense import Defense, Resolve
from harness.api.model.auxiliary import Auxiliary
from harness.api.refs import PluginRef
from harness.api.requests import DefenseRequest
from harness.api.task import Example, TaskData
from harness.api.threat import Threat
from harness.flops import Flops
from harness.rng import named_rng
from harness.tokens.message import PLAIN, Conversation
from harness.tokens.tokenizer import Floats, Tokenizer, Tokens

if TYPE_CHECKING:
    from harness.api.attack import Attack
    from harness.api.model.backend import Backend
    from harness.api.problem.search_result import SearchResult

Offer = Literal["victim", "surrogate", "straight_through", "none"]
"""What a defense gives to gradient attacks. ``victim``: the victim's gradient, in which the defense has no part;
``surrogate``: that and the gradient of its own penalty; ``straight_through``: the victim's at the prompt as written;
``none``: nothing, and gradient attacks are refused.
"""


@dataclass(frozen=True)
class FitJob:
    """What a runtime defense is given to fit itself: task data (train split) and the victim it will stand before.

    Attributes:
        held_out: validation prompts after those that the spec evaluates on, in order: clean prompts that no model was
            trained on, to take thresholds from. Often there are none.
        victim: its model, undefended.
        seen: prompts as they reach this defense, after the transforms before it.
        ask: answers requests, metered as the compute of the fit.
        search: runs an attack on examples against the undefended victim, metered likewise.
        resolve: makes the attack that a `PluginRef` names, with some parameters replaced.
        threat: the threat model that is evaluated under.
    """

    data: TaskData
    seed: int
    victim: Backend
    rng: np.random.Generator
    seen: Callable[[Sequence[str]], list[str]] = list
    ask: Callable[[Sequence[DefenseRequest]], list[Any]] = lambda _: []
    search: Callable[[Attack, Sequence[Example]], SearchResult] | None = None
    resolve: Resolve | None = None
    threat: Threat = field(default_factory=lambda: Threat.model_validate({}))
    held_out: Sequence[Example] = ()


@dataclass(frozen=True)
class Case:
    """One text that a defense works on.

    Attributes:
        text: the prompt as it reaches the defense; of a conversation, the message that may change.
        fitted: what `fit` returned.
        tokenizer: the victim's.
        names: what the randomness depends on.
        answer: what the victim said, for a guard that reads answers.
        conversation: the other messages.
    """

    text: str
    fitted: dict[str, Any]
    tokenizer: Tokenizer
    names: tuple[str | int, ...] = ()
    answer: str | None = None
    conversation: Conversation = PLAIN

    @cached_property
    def rng(self) -> np.random.Generator:
        """Depends on (seed, cell, example, step, purpose, draw) and the defense's place alone."""
        return named_rng(*self.names)


@dataclass(frozen=True)
class Place:
    """An attack string in its place in a prompt, for a surrogate's gradient.

    Attributes:
        before, tokens, after: ids, special ones included; shapes [P], [S], [T].
        allowed: ids that the attack may use, sorted, [A].
        same_tokens: whether all models of the defense share these tokens.
    """

    before: Tokens
    tokens: Tokens
    after: Tokens
    allowed: Tokens
    fitted: dict[str, Any]
    same_tokens: bool = True

    @property
    def row(self) -> Tokens:
        """All of it, [P + S + T]."""
        return np.concatenate([self.before, self.tokens, self.after])


@dataclass(frozen=True, slots=True)
class Ruling:
    """A guard's verdict on a text.

    Attributes:
        blocked: whether it is refused.
        penalty: what a blocked candidate's loss is raised by, in nats; ``inf``: it has no loss.
        score: what was compared with the threshold, where there is such a number.
        unread: whether the guard could make nothing of what its model said; ``blocked`` is then not the model's word.
    """

    blocked: bool
    penalty: float = float("inf")
    score: float | None = None
    unread: bool = False

    @property
    def charged(self) -> float:
        """What is added to a candidate's loss, in nats: the penalty where it is blocked, else 0."""
        return self.penalty if self.blocked else 0.0


@dataclass(frozen=True, slots=True)
class Slope:
    """A penalty and its gradient by the one-hot encoding of the attack string, [S, A]; None where it is flat."""

    penalty: float
    gradient: Floats | None = None


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A prompt rewritten: its text, and its tokens without special ids where these are not simply the tokenizer's."""

    text: str
    ids: tuple[int, ...] | None = None


DefenseSteps = Generator[DefenseRequest, Any, Any]


class RuntimeDefense(Defense):
    """Base of guards, transforms and votes; subclass one of those.

    Attributes:
        offers: what it gives to gradient attacks.
    """

    offers: ClassVar[Offer] = "victim"

    def models(self) -> dict[str, Auxiliary]:
        """The models that its requests name, by role. None by default; the victim itself ("") needs no entry."""
        return {}

    def attack(self) -> PluginRef | None:
        """The attack that `fit` runs, if it runs one."""
        return None

    def fit(self, job: FitJob) -> dict[str, Any]:
        """Fit thresholds and the like; JSON data that every `Case` brings along. Nothing by default."""
        return {}

    def cost(self, text: str) -> Flops:
        """Compute of its own arithmetic for one text; none by default. What models compute is metered, not told."""
        return Flops()

    @property
    def randomised(self) -> bool:
        """Whether equal prompts may be treated differently."""
        return False

    @property
    def loss_varies(self) -> bool:
        """Whether the loss that attacks are told then differs as well, and is to be taken over several draws."""
        return self.randomised


class GuardDefense(RuntimeDefense):
    """A defense that refuses prompts or answers. A blocked attack is no success; a blocked clean prompt counts against
    clean accuracy. Implement `blocks`, or `ruling` to ask models or to offer a penalty. Must be deterministic.

    Attributes:
        may_not_read: whether its rulings may be `Ruling.unread`; records then say how many were.
    """

    may_not_read: ClassVar[bool] = False

    @property
    def reads(self) -> Literal["prompt", "answer"]:
        """What it looks at. A guard of answers needs a task that is answered in text."""
        return "prompt"

    def blocks(self, texts: Sequence[str], fitted: dict[str, Any]) -> list[bool]:
        """Whether each text is refused. Must not depend on the other texts."""
        raise NotImplementedError

    def ruling(self, case: Case) -> Generator[DefenseRequest, Any, Ruling]:
        """Judge one text: yield requests, return the ruling. By default asks nothing and calls `blocks`."""
        yield from ()
        text = case.text if self.reads == "prompt" else case.answer or ""
        return Ruling(bool(self.blocks([text], case.fitted)[0]))

    def surrogate(self, place: Place) -> Generator[DefenseRequest, Any, Slope]:
        """The penalty of `ruling` at an attack string, and its gradient; of guards that offer ``surrogate``."""
        yield from ()
        return Slope(0.0)


class ConversationDefense(RuntimeDefense):
    """A defense that puts messages around the one that the attacker may change, such as a system prompt, and leaves
    that one as it is. For victims that take conversations. Implement `surround`.

    Losses, gradients and samples are those of the victim in that conversation, tokens of the messages and all.
    """

    def surround(self, conversation: Conversation, system: str | None) -> Conversation:
        """The conversation with this defense's messages in it. Must be deterministic, and keep ``role``: the message
        that may change stays what it is.

        Args:
            conversation: the messages around that one; of a plain prompt there are none.
            system: the system prompt that the victim has by itself where a conversation brings none; None: there is
                none, or nobody knows, since a server writes it.
        """
        raise NotImplementedError


class TransformDefense(RuntimeDefense):
    """A defense that rewrites the prompt before the victim sees it. Implement `apply`, or `rewrite` to ask models, to
    draw at random (then say so in `randomised`) or to give tokens.
    """

    offers: ClassVar[Offer] = "straight_through"

    @property
    def gives_tokens(self) -> bool:
        """Whether what it makes are tokens, which no other rewriting may follow."""
        return False

    def apply(self, texts: Sequence[str]) -> list[str]:
        """The rewritten prompts, in order. Must be deterministic and not depend on the other texts."""
        raise NotImplementedError

    def rewrite(self, case: Case) -> Generator[DefenseRequest, Any, str | Rewritten]:
        """One prompt rewritten: yield requests, return the text. By default asks nothing and calls `apply`."""
        yield from ()
        return self.apply([case.text])[0]


class VoteDefense(RuntimeDefense):
    """A defense that has the victim answer several copies of a prompt and takes the most frequent answer.

    A label is decided by majority, ties by the copies' mean probability; copies that a later guard blocks are votes
    for blocking. The loss of a candidate is the expectation over copies. Answers in text: see `choose`.
    """

    offers: ClassVar[Offer] = "straight_through"

    @property
    def randomised(self) -> bool:
        """True: a vote that always says the same is none."""
        return True

    @property
    def gives_tokens(self) -> bool:
        """Whether its copies are tokens, which no other rewriting may follow."""
        return False

    @property
    def temperature(self) -> float:
        """At which each copy is answered: 0 the most likely label or text, else a draw."""
        return 0.0

    def copies(self) -> int:
        """How many copies of a prompt the victim answers."""
        raise NotImplementedError

    def copy(self, case: Case) -> Generator[DefenseRequest, Any, str | Rewritten]:
        """One copy; by default the prompt as it is."""
        yield from ()
        return case.text

    def choose(self, answers: Sequence[str | None]) -> int:
        """Which of the answers in text is given, None being a blocked one; by default the one whose words agree best
        with all others' (Jaccard), the first of equals.
        """
        words = [frozenset(() if answer is None else answer.lower().split()) for answer in answers]
        agreement = [sum(_overlap(mine, other) for other in words) for mine in words]
        return int(np.argmax(agreement))

    def certificate(self) -> Certificate | None:
        """How its certificate is found; None where it gives none."""
        return None


@dataclass(frozen=True)
class Certificate:
    """How a vote's certificate is estimated.

    Attributes:
        samples: copies per clean prompt.
        examples: clean prompts at most.
        alpha: chance that a stated radius is wrong, per prompt.
        unit: of the radius, in words.
        radius: the certified radius from (copies that said the true label, copies); -1 where not even the clean prompt
            is certified.
    """

    samples: int
    examples: int
    alpha: float
    unit: str
    radius: Callable[[int, int], int]


def _overlap(a: frozenset[str], b: frozenset[str]) -> float:
    return len(a & b) / len(a | b) if a | b else 1.0
