"""Judges: what counts as a success of the attacker."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from harness.plugin import Kind, Plugin
from harness.task import Example


@dataclass(frozen=True, slots=True)
class Answer:
    """What the defended victim said to one prompt.

    Attributes:
        label: index of the predicted label, or None when a guard blocked the prompt.
        scores: one logit per label; empty when blocked.
        loss: cross-entropy to the proxy label in nats; ``inf`` when blocked.
    """

    label: int | None
    scores: tuple[float, ...]
    loss: float

    @property
    def blocked(self) -> bool:
        """Whether a guard refused to answer."""
        return self.label is None


class Judge(Plugin):
    """Decides success from an example and the victim's answer. Implement `success`."""

    kind: ClassVar[Kind] = "judge"

    @abstractmethod
    def success(self, example: Example, answer: Answer) -> bool:
        """Whether the attacker has got what it wants. A blocked answer never reaches this method: it is no success."""
