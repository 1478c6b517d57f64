"""Training examples of a task that is answered in text: harmful ones with a refusal, benign ones with their reply."""

from __future__ import annotations

from dataclasses import replace

from harness import DataError, Example, TaskData
from plugins.tasks._bases.generation_task import spaced_continuation

REFUSAL = "I'm sorry, but I can't help with that."


def check_answers_in_text(data: TaskData, name: str) -> None:
    """Raise DataError where the task is answered with labels, or has no harmful training prompt."""
    if data.labels:
        raise DataError(
            f"{name}: the task is answered with labels, and there is nothing to refuse; use a task that is answered "
            "in text, such as forbidden_topics or behaviors"
        )
    if all(example.benign for example in data.train):
        raise DataError(
            f"{name}: none of {len(data.train)} training prompts is harmful; use a task that has such prompts to "
            "train on (behaviors: train_split, or a validation_fraction below 1)"
        )


def benign_examples(data: TaskData, name: str, otherwise: str) -> list[Example]:
    """The benign training examples that have a good reply.

    Args:
        name: of the defense, for the error.
        otherwise: what else would help, for the error.

    Raises:
        DataError: there are none.
    """
    found = [example for example in data.train if example.benign and example.reply]
    if not found:
        raise DataError(
            f"{name}: no training prompt is benign and has a good reply, and a victim that learns refusals alone "
            f"refuses everything; give the task such prompts (behaviors: benign_column, reply_column), or {otherwise}"
        )
    return found


def refused_examples(data: TaskData, refusal: str | None = None) -> list[Example]:
    """The harmful training examples, each with a refusal as its reply.

    Args:
        refusal: the text; None: each example's own reply, and `REFUSAL` where it has none.
    """
    return [_refused(example, refusal) for example in data.train if not example.benign]


def complied_examples(data: TaskData) -> list[Example]:
    """The harmful training examples, each with the beginning of an answer that an attacker wants as its reply."""
    return [replace(example, reply=example.target) for example in data.train if not example.benign and example.target]


def _refused(example: Example, refusal: str | None) -> Example:
    if refusal is None and example.reply:
        return example
    return replace(example, reply=spaced_continuation(example.text, refusal or REFUSAL))
