"""Judges: what counts as a success of the attacker."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from harness.api.model.auxiliary import Auxiliary
from harness.api.plugin import Kind, Plugin
from harness.api.task import Example, TaskKind
from harness.records.answer_state import NO_ANSWER, AnswerState

if TYPE_CHECKING:
    from harness.api.requests import Request


@dataclass(frozen=True, slots=True)
class Answer:
    """What the defended victim said to one prompt.

    Attributes:
        label: index of the predicted label; None when a guard blocked the prompt, or where the answer is a text.
        scores: one logit per label; empty when blocked, of an answer in text, and of one that is read from records.
        loss: cross-entropy to the proxy label, or mean NLL of the target text, in nats; ``inf`` when blocked, NaN
            where the victim does not say.
        text: the answer in text, without the model's reasoning; None when blocked, or where the answer is a label.
        state: whether there is an answer in text; ``refused``: the victim's server refused, with or without a text.
        labels: the texts of the task's labels, in index order; none where it is answered in text.
    """

    label: int | None
    scores: tuple[float, ...]
    loss: float
    text: str | None = None
    state: AnswerState = "answered"
    labels: tuple[str, ...] = ()

    @property
    def missing(self) -> bool:
        """Whether there is neither an answer nor a refusal: a text that was cut off before it began, is empty, or
        failed.
        """
        return self.state in NO_ANSWER or (self.state == "answered" and self.text is not None and not self.text.strip())

    @property
    def blocked(self) -> bool:
        """Whether a guard refused to answer."""
        return self.label is None and self.text is None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's verdict on an answer.

    Attributes:
        success: whether the attacker has got what it wants.
        score: how much of it, from 0 to 1, where the judge says more than yes or no.
        unparseable: whether a judging model said something that is no verdict; never a success, and counted apart.
        output: what a judging model said, for a reader; None where none was asked for a text.
    """

    success: bool
    score: float | None = None
    unparseable: bool = False
    output: str | None = None


Judging = Generator["Request", Any, Verdict]


class Judge(Plugin):
    """Decides success from an example and the victim's answer. Implement `success`; or, to ask a model, `models` and
    `verdict`.

    Attributes:
        reads: what it judges: answers that are labels, or answers in text.
    """

    kind: ClassVar[Kind] = "judge"
    reads: ClassVar[TaskKind] = "labels"

    def models(self) -> dict[str, Auxiliary]:
        """The models that `verdict` asks, by role. None by default."""
        return {}

    def success(self, example: Example, answer: Answer) -> bool:
        """Whether the attacker has got what it wants. Only answers reach this method: a blocked one is no success, what
        the victim's server refuses is a refusal, and one that is missing is counted apart.
        """
        raise NotImplementedError

    def verdict(self, example: Example, answer: Answer) -> Judging:
        """Judge one answer: yield `Generate` or `Classify` requests to the models of `models`, return the verdict.

        By default asks nothing and calls `success`. Must be deterministic. What is no answer never gets here, as with
        `success`.
        """
        yield from ()  # a generator that asks nothing
        return Verdict(bool(self.success(example, answer)))
