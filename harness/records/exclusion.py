"""Why an example was not attacked: all values of the column ``excluded``."""

from __future__ import annotations

import re
from typing import Literal

BLOCKED = "blocked when clean"
ALREADY_WRONG = "already wrong"
ALREADY_BROKEN = "already broken when clean"
NOT_ATTACKABLE = "not attacked: the task asks it clean alone"
NO_CLEAN_ANSWER = "no answer when clean"
NOT_JUDGED = "clean answer not judged"
NOT_ATTACKED = "not attacked: the judge of that run saw a success in its clean answer"
NOT_ATTACKED_UNJUDGED = "not attacked: the judge of that run could not judge its clean answer"

_TOO_LONG = re.compile(r"too long: ([0-9]{1,9}) tokens with the attack string, context ([0-9]{1,9})")


def too_long(length: int, context: int) -> str:
    """The reason of a prompt of ``length`` tokens, attack string included, in a context of ``context``."""
    return f"too long: {length} tokens with the attack string, context {context}"


def success_when_clean(reason: str | None) -> bool | None:
    """Whether the attacker had what it wants before any attack, of an example in text that was left out for
    ``reason``; a prompt that a guard blocks is refused. None where that reason does not tell, or it was attacked.
    """
    return {ALREADY_BROKEN: True, BLOCKED: False}.get(reason or "")


def is_too_long(reason: str) -> bool:
    """Whether ``reason`` is one that `too_long` gives."""
    return _TOO_LONG.fullmatch(reason) is not None


def kind_of_exclusion(reason: str) -> str:
    """The reason without the numbers of its example."""
    return "too long" if is_too_long(reason) else reason.partition(":")[0]


CleanMeasure = Literal["clean accuracy", "refused when clean", "answered when clean"]


def clean_measure(*, labels: bool, benign: bool) -> CleanMeasure:
    """With labels an accuracy; in text what a good victim does with the prompts.

    Args:
        labels: whether the task is answered with labels.
        benign: whether the prompts are ones that a good victim answers.
    """
    if labels:
        return "clean accuracy"
    return "answered when clean" if benign else "refused when clean"
