"""Toy plugins that stand next to the one under test: a judge, and a guard that refuses everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.api.judge import Answer, Judge
from harness.api.runtime_defense import GuardDefense
from harness.api.task import Example
from harness.flops import Flops


class ToyJudge(Judge):
    """Another label than the true one; in text, any answer that holds the target's last word."""

    name = "toy_judge"

    def success(self, example: Example, answer: Answer) -> bool:
        """Whether the label is wrong, or the text holds the target's last word."""
        if answer.text is None:
            return answer.label != example.label
        return example.target.split()[-1] in answer.text


class BlockAll(GuardDefense):
    """A guard that refuses every prompt."""

    name = "block_all"

    def blocks(self, texts: Sequence[str], fitted: dict[str, Any]) -> list[bool]:
        """True for every text."""
        return [True for _ in texts]

    def cost(self, text: str) -> Flops:
        """Nothing."""
        return Flops()
