"""What a defended victim said to one prompt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.api.judge import Answer
from harness.api.task import AnyBut
from harness.engine.losses import label_loss
from harness.flops import Flops
from harness.records.answer_state import NO_ANSWER, AnswerState
from harness.tokens.tokenizer import Floats

NOTHING = Flops()


@dataclass(frozen=True)
class Reply:
    """What the defended victim said to one prompt, and the compute it took.

    Attributes:
        logits: one per label; of a vote, log shares. None when a guard blocked the prompt, or where the answer is a
            text.
        text: the answer in text, without reasoning; None when a guard blocked the prompt, or where the answer is a
            label.
        state: whether there is an answer. With labels, ``failed`` is one that is missing.
        nll: of an answer in text, the loss of the target text: its mean NLL, unless the item says otherwise; NaN where
            the victim does not tell.
        too_long: the prompt, with the longest answer, does not fit the context.
        beyond_radius: the prompt's perturbation is longer than it may be, and there is no answer.
        blocked_by: place in the pipeline of the guard that blocked it.
        unread: places in the pipeline of the guards that could make nothing of what their model said.
        penalty: what guards raise the loss by, in nats.
        for_loss: of ``victim``, what reading the loss of a target took; the rest is the answer's.
        copies: of a vote on labels, the logits of each copy [n, labels]; the loss is the mean over them.
    """

    logits: Floats | None
    victim: Flops
    defense: Flops
    too_long: bool = False
    text: str | None = None
    nll: float = float("nan")
    blocked_by: int | None = None
    penalty: float = 0.0
    copies: Floats | None = None
    beyond_radius: bool = False
    state: AnswerState = "answered"
    for_loss: Flops = NOTHING
    unread: tuple[int, ...] = ()

    @property
    def for_answer(self) -> Flops:
        """Of ``victim``, what the answer itself took."""
        return self.victim + self.for_loss * -1

    @property
    def missing(self) -> bool:
        """Whether there is neither an answer nor a refusal."""
        return self.state in NO_ANSWER

    @property
    def label(self) -> int | None:
        """The label said, if one was."""
        return None if self.logits is None else int(self.logits.argmax())

    def answer(self, goal: int | AnyBut) -> Answer:
        """For a judge; of an answer with a label, the loss is that of what the attacker wants, `Example.goal`."""
        if self.text is not None:
            return Answer(None, (), self.nll, self.text, self.state)
        if self.logits is None:
            return Answer(None, (), float("inf"), state=self.state)
        seen = self.logits if self.copies is None else self.copies
        return Answer(self.label, tuple(self.logits.tolist()), float(np.mean(label_loss(seen, goal))))

    def loss(self, goal: int | AnyBut) -> float:
        """For an attack: penalties of guards included."""
        return self.answer(goal).loss + self.penalty
