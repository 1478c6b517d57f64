"""The toys of `harness.testing`, with the built-in judge of labels and the engine's own search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from harness.api.attack import Attack
from harness.api.judge import Judge
from harness.api.threat import Access
from harness.engine.defended.victim import DefendedVictim
from harness.engine.search.judging import JudgeRunner
from harness.engine.search.router import ModelRouter
from harness.engine.search.search import Search
from harness.records.step_row import StepRow
from harness.testing.toys.backend import SENTENCES, ToyBackend, toy_examples, toy_tokenizer
from plugins.judges.labels import WrongLabel

__all__ = ["SENTENCES", "ToyBackend", "judge_of", "searching", "toy_examples", "toy_tokenizer", "without_time"]


def judge_of(victim: DefendedVictim, judge: Judge | None = None, **models: DefendedVictim) -> JudgeRunner:
    """A judge (by default one for labels) of what this victim says, with its models by role."""
    return JudgeRunner(judge or WrongLabel(), ModelRouter(victim, models))


def searching(
    victim: DefendedVictim,
    attack: Attack,
    names: tuple[Any, ...] = (0, "cell"),
    granted: Access = "gradient",
    judge: Judge | None = None,
    models: dict[str, DefendedVictim] | None = None,
    **options: Any,
) -> Search:
    """A search for strings against this victim, judged where a judge is given."""
    runner = None if judge is None else judge_of(victim, judge)
    return Search(ModelRouter(victim, models or {}), attack, names, granted, runner, **options)


def without_time(rows: Sequence[StepRow]) -> list[StepRow]:
    """Rows that are equal where nothing but the seconds differs."""
    return [replace(row, seconds=0.0) for row in rows]
