"""The victim under test, prepared for the kit's toy tasks: trained once, and kept for all checks."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.api.problem.placement import allowed_tokens, place
from harness.api.problem.problem import Problem
from harness.api.task import TaskData, TaskKind
from harness.api.victim import PrepareJob
from harness.errors import HarnessError
from harness.flops import Flops
from harness.testing.plugin_under_test import Subject
from harness.testing.toys.examples import toy_threat
from harness.testing.toys.task_data import ANSWER_KINDS, toy_task_data


@dataclass(frozen=True)
class PreparedVictim:
    """The victim, prepared and opened.

    Attributes:
        backend: what it opens.
        folder: of the prepared model.
        spent: on preparing it.
        data: the toy task that it was prepared for.
        temporary_folder: holds ``folder``, and is removed with this object.
    """

    backend: Any
    folder: Path
    spent: Flops
    data: TaskData
    temporary_folder: tempfile.TemporaryDirectory[str]

    @property
    def tolerance(self) -> float:
        """Largest relative difference that counts as rounding."""
        return 0.05 if "16" in str(self.backend.describe().get("dtype", "")) else 1e-4

    def problems(self, count: int = 2) -> list[Problem]:
        """Validation examples with a place for an attack string of four tokens."""
        tokenizer, threat = self.backend.tokenizer, toy_threat("gradient", tokens=4)
        allowed = allowed_tokens(tokenizer)
        examples = self.data.validation[:count]
        return [place(example, threat, tokenizer, allowed, self.data.labels) for example in examples]


def prepared_victim(subject: Subject, kind: TaskKind, seed: int = 0, again: int = 0) -> PreparedVictim:
    """The victim prepared for answers of that kind. Raises what the victim raises.

    Args:
        again: another number prepares it again.
    """
    key = ("prepared victim", kind, seed, again)
    if key not in subject.kept:
        temporary_folder = tempfile.TemporaryDirectory(prefix="harness-check-")
        folder, scratch = Path(temporary_folder.name) / "model", Path(temporary_folder.name) / "scratch"
        folder.mkdir()
        scratch.mkdir()
        data, victim = toy_task_data(kind), subject.fresh()
        spent = victim.prepare(PrepareJob(data, seed, folder, scratch, lambda *_: None))
        subject.kept[key] = PreparedVictim(victim.open(folder, data), folder, spent, data, temporary_folder)
    prepared: PreparedVictim = subject.kept[key]
    return prepared


def preparable_kinds(subject: Subject) -> list[TaskKind]:
    """The kinds of answers that the victim can be prepared for.

    Raises:
        HarnessError: there are none.
    """
    if "answer kinds" not in subject.kept:
        kinds: list[TaskKind] = []
        errors: list[HarnessError] = []
        for kind in ANSWER_KINDS:
            try:
                prepared_victim(subject, kind)
            except HarnessError as error:
                errors.append(error)
            else:
                kinds.append(kind)
        if not kinds:
            raise errors[0]
        subject.kept["answer kinds"] = kinds
    known: list[TaskKind] = subject.kept["answer kinds"]
    return known


def prepared_victims(subject: Subject) -> list[PreparedVictim]:
    """The victim, prepared for each kind of answers that it can give."""
    return [prepared_victim(subject, kind) for kind in preparable_kinds(subject)]
