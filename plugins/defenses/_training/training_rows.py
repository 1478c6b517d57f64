"""Training rows of a victim: a prompt and its right answer, a label or a good reply, in the victim's tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from harness import (
    Backend,
    Conversation,
    DataError,
    Example,
    Latent,
    LatentItem,
    Perturbable,
    Prompt,
    ScoreItem,
    TaskData,
    Threat,
    Tokenizer,
    TrainRow,
    cross_entropy,
    place,
    render,
    reply_ids,
    reply_row,
)

NO_TOKENS = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class TrainingExample:
    """A prompt and its right answer.

    Attributes:
        text: the whole prompt; of a conversation, the message that may change.
        label: the right one; `NO_LABEL` where the answer is a text.
        reply: a good answer in text; "" where it is a label.
        latent: a perturbation of activations under which the answer is trained; None: none.
        latent_at: index in the prompt's ids of the first token that it perturbs.
        conversation: the other messages.
    """

    text: str
    label: int
    reply: str = ""
    latent: Latent | None = None
    latent_at: int = 0
    conversation: Conversation = field(default_factory=Conversation)

    @classmethod
    def clean(cls, example: Example) -> TrainingExample:
        """An example as it is."""
        return cls(example.text, example.label, example.reply, conversation=example.conversation)

    @property
    def prompt(self) -> Prompt:
        """The whole prompt."""
        return self.conversation.prompt(self.text)


class TrainingRowBuilder:
    """Makes training rows for one victim, and measures a model's loss on them.

    Attributes:
        labelled: whether the victim chooses among labels; else it answers in text.
        name: of the defense, for errors.
    """

    def __init__(self, model: Path, tokenizer: Tokenizer, context: int, data: TaskData, name: str) -> None:
        """
        Args:
            model: the victim's folder, whose configuration names the token that ends an answer.
            context: its longest row, in tokens.
            data: the task's, of which the training split is used.
            name: of the defense, for errors.

        Raises:
            DataError: the victim answers in text, and no training example has a reply to learn.
        """
        from harness import saved_ending  # brings torch along

        self.labelled, self.name = bool(data.labels), name
        self._tokenizer, self._context, self._train = tokenizer, context, data.train
        self._end = None if self.labelled else saved_ending(model)
        if not self.labelled and not any(example.reply for example in data.train):
            raise DataError(
                f"{name}: no training example has a good reply to learn; use a task whose examples have replies, or "
                "give the task a column of them"
            )

    def row(self, example: TrainingExample) -> TrainRow:
        """The example in tokens; for a victim that answers in text, the reply and its end follow the prompt."""
        prompt = render(example.prompt, self._tokenizer)
        if self.labelled:
            return TrainRow(prompt, example.label, latent=example.latent, latent_at=example.latent_at)
        row = reply_row(prompt, self._reply(example.reply))
        return TrainRow(row.ids, row.label, row.start, example.latent, example.latent_at)

    def fits(self, row: TrainRow) -> bool:
        """Whether a row fits the victim's context."""
        return len(row.ids) <= self._context

    def sample(self, count: int, rng: np.random.Generator, threat: Threat | None = None) -> list[Example]:
        """``count`` different training examples that have an answer and fit the context, or all such in random order
        where there are fewer.

        Args:
            threat: the threat model of the string that is to be put into them; None: they are taken as they are.
        """
        fits: Callable[[Example], bool] = lambda example: (  # noqa: E731
            (threat is None or example.attackable) and self._example_fits(example, threat)
        )
        order = (self._train[int(i)] for i in rng.permutation(len(self._train)))
        return list(islice(filter(fits, order), count))

    def losses(self, examples: Sequence[TrainingExample], model: Backend) -> tuple[list[float], float]:
        """A model's loss on each example, in nats (cross-entropy to the right label, or mean NLL of the reply), under
        its perturbation where it has one; and the executed FLOPs.
        """
        clean = [i for i, example in enumerate(examples) if example.latent is None]
        clean_losses, executed = self._clean_losses([examples[i] for i in clean], model)
        losses = dict(zip(clean, clean_losses, strict=True))
        perturbed = [
            (i, self._latent_item(example, example.latent))
            for i, example in enumerate(examples)
            if example.latent is not None
        ]
        if perturbed:
            assert isinstance(model, Perturbable)  # else no attack could have perturbed it
            answers = model.answer_perturbed([item for _, item in perturbed])
            for (i, _), answer in zip(perturbed, answers, strict=True):
                losses[i] = cross_entropy(answer.logits, examples[i].label) if self.labelled else answer.loss
                executed += answer.executed
        return [float(losses[i]) for i in range(len(examples))], executed

    def _latent_item(self, example: TrainingExample, latent: Latent) -> LatentItem:
        target, around = self._target(example), example.conversation
        return LatentItem(example.text, example.latent_at, latent, target, max_tokens=1, conversation=around)

    def _clean_losses(self, examples: Sequence[TrainingExample], model: Backend) -> tuple[list[float], float]:
        rows = [self.row(example) for example in examples]
        if self.labelled:
            logits, executed = model.classify([np.asarray(row.ids, dtype=np.int64) for row in rows])
            losses = [float(cross_entropy(own, row.label)) for own, row in zip(logits, rows, strict=True)]
            return losses, sum(executed)
        prompts = [np.asarray(row.ids[: row.start], dtype=np.int64)[None] for row in rows]
        targets = [self._target(example) for example in examples]
        items = [ScoreItem(NO_TOKENS, prompt, NO_TOKENS, to) for prompt, to in zip(prompts, targets, strict=True)]
        scored = model.score(items)
        return [float(one.losses[0]) for one in scored], sum(one.executed for one in scored)

    def _target(self, example: TrainingExample) -> int | tuple[int, ...]:
        return 0 if self.labelled else self._reply(example.reply)

    def _reply(self, reply: str) -> tuple[int, ...]:
        return reply_ids(reply, self._tokenizer, self._end)

    def _example_fits(self, example: Example, threat: Threat | None) -> bool:
        if not self.labelled and not example.reply:
            return False
        if threat is None:
            prompt = len(render(example.prompt, self._tokenizer))
        else:
            problem = place(example, threat, self._tokenizer, NO_TOKENS)
            prompt = len(problem.before) + threat.tokens + len(problem.after)
        return prompt + (0 if self.labelled else len(self._reply(example.reply))) <= self._context
