"""A guard of answers that needs no model, as a plugin file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from harness import Defense, GuardDefense, hookimpl


class AnswerGuard(GuardDefense):
    """Refuse answers that begin to help."""

    name = "answer_guard"

    @property
    def reads(self) -> Literal["prompt", "answer"]:
        return "answer"

    def blocks(self, texts: Sequence[str], fitted: dict[str, Any]) -> list[bool]:
        return [text.strip().startswith("Sure") for text in texts]


@hookimpl
def harness_register_defenses(register: Callable[[type[Defense]], None]) -> None:
    """Register AnswerGuard."""
    register(AnswerGuard)
