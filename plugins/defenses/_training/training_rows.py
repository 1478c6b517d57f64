"""What a victim is taught: the right answer to a prompt, a label or a good reply."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from harness import (
    Backend,
    DataError,
    Example,
    Latent,
    LatentItem,
    Perturbable,
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
class TrainingRow:
    """A prompt and its right answer.

    Attributes:
        text: the whole prompt.
        label: the right one; `NO_LABEL` where the answer is a text.
        reply: a good answer in text; "" where it is a label.
        latent, latent_at: a perturbation of activations under which it is learnt, and the place of its first token.
    """

    text: str
    label: int
    reply: str = ""
    latent: Latent | None = None
    latent_at: int = 0


class TrainingRows:
    """Makes rows to train one victim on, and tells what it has learnt.

    Attributes:
        labelled: whether the victim chooses among labels.
    """

    def __init__(self, model: Path, tokenizer: Tokenizer, context: int, data: TaskData, name: str) -> None:
        """
        Args:
            model: its folder, which tells how it ends an answer.
            context: its longest row.
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

    def row(self, lesson: TrainingRow) -> TrainRow:
        """What is trained on; for a victim that answers in text, the reply and its end follow the prompt."""
        prompt = render(lesson.text, self._tokenizer)
        if self.labelled:
            return TrainRow(prompt, lesson.label, latent=lesson.latent, latent_at=lesson.latent_at)
        row = reply_row(prompt, self._reply(lesson.reply))
        return TrainRow(row.ids, row.label, row.start, lesson.latent, lesson.latent_at)

    def holds(self, row: TrainRow) -> bool:
        """Whether a row fits the victim's context."""
        return len(row.ids) <= self._context

    def draw(self, count: int, rng: np.random.Generator, threat: Threat | None = None) -> list[Example]:
        """``count`` different training examples that have an answer and fit the context, or all of them in random order
        when there are fewer.

        Args:
            threat: under which a string is to be put into them; None: they are taken as they are.
        """
        fits: Callable[[Example], bool] = lambda example: self._fits(example, threat)  # noqa: E731
        order = (self._train[int(i)] for i in rng.permutation(len(self._train)))
        return list(islice(filter(fits, order), count))

    def losses(self, lessons: Sequence[TrainingRow], model: Backend) -> tuple[list[float], float]:
        """Cross-entropy to the right label, or mean NLL of the reply, of each lesson; and the executed FLOPs."""
        rows = [self.row(lesson) for lesson in lessons]
        plain = [i for i, lesson in enumerate(lessons) if lesson.latent is None]
        found, executed = self._plain([lessons[i] for i in plain], [rows[i] for i in plain], model)
        losses = dict(zip(plain, found, strict=True))
        moved = [
            (i, LatentItem(lesson.text, lesson.latent_at, lesson.latent, self._target(lesson), max_tokens=1))
            for i, lesson in enumerate(lessons)
            if lesson.latent is not None
        ]
        if moved:
            assert isinstance(model, Perturbable)  # the attack found them there
            for (i, _), answer in zip(moved, model.answer_perturbed([item for _, item in moved]), strict=True):
                losses[i] = cross_entropy(answer.logits, lessons[i].label) if self.labelled else answer.loss
                executed += answer.executed
        return [float(losses[i]) for i in range(len(lessons))], executed

    def _plain(
        self, lessons: Sequence[TrainingRow], rows: Sequence[TrainRow], model: Backend
    ) -> tuple[list[float], float]:
        if self.labelled:
            logits, executed = model.classify([np.asarray(row.ids, dtype=np.int64) for row in rows])
            return [float(cross_entropy(own, row.label)) for own, row in zip(logits, rows, strict=True)], sum(executed)
        prompts = [np.asarray(row.ids[: row.start], dtype=np.int64)[None] for row in rows]
        targets = [self._target(lesson) for lesson in lessons]
        items = [ScoreItem(NO_TOKENS, prompt, NO_TOKENS, to) for prompt, to in zip(prompts, targets, strict=True)]
        scored = model.score(items)
        return [float(one.losses[0]) for one in scored], sum(one.executed for one in scored)

    def _target(self, lesson: TrainingRow) -> int | tuple[int, ...]:
        return 0 if self.labelled else self._reply(lesson.reply)

    def _reply(self, reply: str) -> tuple[int, ...]:
        return reply_ids(reply, self._tokenizer, self._end)

    def _fits(self, example: Example, threat: Threat | None) -> bool:
        if not self.labelled and not example.reply:
            return False
        if threat is None:
            prompt = len(render(example.text, self._tokenizer))
        else:
            around = place(example, threat, self._tokenizer, NO_TOKENS)
            prompt = len(around.before) + threat.tokens + len(around.after)
        return prompt + (0 if self.labelled else len(self._reply(example.reply))) <= self._context
